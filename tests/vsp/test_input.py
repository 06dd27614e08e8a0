"""Keyboard and mouse of the host, against guests that behave and guests that do not."""

from __future__ import annotations

import pytest

from host.vsp.device import Device
from host.vsp.input.keyboard import Keyboard
from host.vsp.input.mouse import Mouse
from host.vsp.input.scan_codes import key_for
from host.vsp.testing import Clock, Loopback
from protocol.errors import OperatorError
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import synthhid, synthkbd
from protocol.wire.synthhid import DeviceInfo, HidMessage, MouseReport
from protocol.wire.synthkbd import KbdMessage, Key, Keystroke

KBD_REQUEST = synthkbd.ProtocolRequest(KbdMessage.PROTOCOL_REQUEST, synthkbd.VERSION).encode()
HID_REQUEST = synthhid.message(HidMessage.PROTOCOL_REQUEST, synthhid.ProtocolRequest(synthhid.VERSION).encode())
HID_ACK = synthhid.message(HidMessage.INITIAL_DEVICE_INFO_ACK, synthhid.DeviceInfoAck().encode())


def opened(ram: GuestRam, device: Device) -> Loopback:
    channel = Loopback(ram, range(1, 11), range(11, 21))
    channel.open(device)
    return channel


def keyboard(ram: GuestRam, clock: Clock, every: float = 0.0) -> tuple[Keyboard, Loopback]:
    device = Keyboard(clock, every)
    channel = opened(ram, device)
    channel.send(PacketType.IN_BAND, KBD_REQUEST)
    channel.receive()
    return device, channel


def mouse(ram: GuestRam, clock: Clock, every: float = 0.0) -> tuple[Mouse, Loopback]:
    device = Mouse(clock, every)
    channel = opened(ram, device)
    channel.send(PacketType.IN_BAND, HID_REQUEST)
    channel.receive()
    channel.send(PacketType.IN_BAND, HID_ACK)
    return device, channel


def strokes(channel: Loopback) -> list[tuple[int, int]]:
    events = [Keystroke.decode(packet.payload) for packet in channel.receive()]
    assert all(event.type == KbdMessage.EVENT for event in events)
    return [(event.make_code, event.info) for event in events]


def test_a_completion_is_sent_because_it_was_asked_for_and_then_the_answer(ram: GuestRam) -> None:
    channel = opened(ram, Keyboard(Clock()))
    channel.send(PacketType.IN_BAND, KBD_REQUEST, 77, COMPLETION_REQUESTED)
    completion, answer = channel.receive()
    assert (completion.type, completion.transaction_id) == (PacketType.COMPLETION, 77)
    response = synthkbd.ProtocolResponse.decode(answer.payload)
    assert (response.type, response.status) == (KbdMessage.PROTOCOL_RESPONSE, synthkbd.ACCEPTED)
    assert channel.signals == 1, "both in one batch"


def test_text_is_typed_with_shift_where_it_is_due(ram: GuestRam) -> None:
    device, channel = keyboard(ram, Clock())
    device.type_text("a!")
    shift, one = 0x2A, 0x02
    down, up = Key.MAKE, Key.BREAK
    assert strokes(channel) == [(0x1E, down), (0x1E, up), (shift, down), (one, down), (one, up), (shift, up)]
    assert device.counts()["events"] == 6


def test_what_no_key_makes_is_refused_before_the_first_key(ram: GuestRam) -> None:
    device, channel = keyboard(ram, Clock())
    with pytest.raises(OperatorError, match="no key types 'ü'"):
        device.type_text("aü")
    assert not channel.receive()


def test_every_printable_character_has_a_key_of_its_own() -> None:
    keys = [key_for(chr(code)) for code in range(32, 127)]
    assert len(set(keys)) == 95


def test_a_guest_without_a_driver_gets_no_keys(ram: GuestRam) -> None:
    device = Keyboard(Clock())
    with pytest.raises(OperatorError, match="hyperv_keyboard"):
        device.press(1)
    channel = opened(ram, device)
    with pytest.raises(OperatorError, match="hyperv_keyboard"):
        device.press(1)
    assert not channel.receive(), "an event before the version would be taken for the answer"


def test_another_version_is_refused_and_complained_about(ram: GuestRam) -> None:
    clock = Clock()
    channel = opened(ram, Keyboard(clock))
    channel.send(PacketType.IN_BAND, synthkbd.ProtocolRequest(1, 0x9_0000).encode())
    (answer,) = channel.receive()
    assert synthkbd.ProtocolResponse.decode(answer.payload).status == 0
    assert "version 0x90000" in str(clock.complaints[0])


def test_keys_press_themselves_if_somebody_wants_it_until_the_channel_is_closed(ram: GuestRam) -> None:
    clock = Clock()
    device, channel = keyboard(ram, clock, every=0.5)
    clock.advance(2.2)
    assert len(strokes(channel)) == 8
    closed: list[bool] = []
    device.close(lambda: closed.append(True))
    clock.advance(10)
    assert (closed, device.counts()["events"]) == ([True], 8)


def test_a_guest_that_asks_again_and_again_does_not_make_the_keys_press_themselves_faster(ram: GuestRam) -> None:
    clock = Clock()
    device, channel = keyboard(ram, clock, every=0.5)
    for _ in range(10):
        channel.send(PacketType.IN_BAND, KBD_REQUEST)
    channel.receive()
    clock.advance(2.2)
    assert len(strokes(channel)) == 8
    device.close(lambda: None)
    clock.advance(10)
    assert device.counts()["events"] == 8


def test_a_guest_that_changes_its_mind_about_the_version_has_no_keyboard_any_more(ram: GuestRam) -> None:
    clock = Clock()
    _, channel = keyboard(ram, clock, every=0.5)
    channel.send(PacketType.IN_BAND, synthkbd.ProtocolRequest(KbdMessage.PROTOCOL_REQUEST, 0x9_0000).encode())
    (answer,) = channel.receive()
    assert synthkbd.ProtocolResponse.decode(answer.payload).status == 0
    clock.advance(10)
    assert not channel.receive()
    assert len(clock.complaints) == 1, "of the version, and of no key"


def test_a_guest_that_reads_nothing_loses_keys_and_costs_no_memory(ram: GuestRam) -> None:
    clock = Clock()
    device, channel = keyboard(ram, clock, every=0.01)
    clock.advance(30)
    counts = device.counts()
    assert counts["dropped"] > 1000
    assert counts["events"] + counts["dropped"] == 6000
    assert len(strokes(channel)) + len(strokes(channel)) == counts["events"]


def test_lights_are_remembered(ram: GuestRam) -> None:
    device, channel = keyboard(ram, Clock())
    channel.send(PacketType.IN_BAND, synthkbd.LedIndicators(KbdMessage.LED_INDICATORS, synthkbd.Led.CAPS_LOCK).encode())
    assert device.leds == synthkbd.Led.CAPS_LOCK


def test_the_mouse_describes_itself_right_after_the_version(ram: GuestRam) -> None:
    device = Mouse(Clock())
    channel = opened(ram, device)
    channel.send(PacketType.IN_BAND, HID_REQUEST)
    version, description = [synthhid.parse(packet.payload) for packet in channel.receive()]
    assert synthhid.ProtocolResponse.decode(version[1]) == synthhid.ProtocolResponse(synthhid.VERSION, 1)
    info = DeviceInfo.decode(description[1])
    reports = description[1][DeviceInfo.layout.size :][: info.report_length]
    assert reports == synthhid.REPORT_DESCRIPTOR
    with pytest.raises(OperatorError, match="hid_hyperv"):
        device.move(1, 1)
    channel.send(PacketType.IN_BAND, HID_ACK)
    device.move(1, 2)
    ((header, report),) = [synthhid.parse(packet.payload) for packet in channel.receive()]
    assert (header.type, header.size) == (HidMessage.INPUT_REPORT, 7)
    assert MouseReport.decode(report) == MouseReport(0, 1, 2)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, 0x8000)])
def test_the_pointer_stays_on_the_screen(ram: GuestRam, x: int, y: int) -> None:
    device, channel = mouse(ram, Clock())
    with pytest.raises(OperatorError, match="not on the screen"):
        device.move(x, y)
    assert not channel.receive()


def test_a_click_is_two_reports_where_the_pointer_is(ram: GuestRam) -> None:
    device, channel = mouse(ram, Clock())
    device.move(5, 6)
    device.click(synthhid.Button.RIGHT)
    reports = [MouseReport.decode(synthhid.parse(packet.payload)[1]) for packet in channel.receive()]
    assert reports == [MouseReport(0, 5, 6), MouseReport(2, 5, 6), MouseReport(0, 5, 6)]


def test_the_pointer_wanders_by_itself_if_somebody_wants_it(ram: GuestRam) -> None:
    clock = Clock()
    _, channel = mouse(ram, clock, every=0.02)
    clock.advance(1)
    reports = [MouseReport.decode(synthhid.parse(packet.payload)[1]) for packet in channel.receive()]
    assert len({(report.x, report.y) for report in reports}) == len(reports) == 50


def test_a_mouse_that_is_confirmed_again_and_again_does_not_wander_faster(ram: GuestRam) -> None:
    clock = Clock()
    device, channel = mouse(ram, clock, every=0.02)
    for _ in range(10):
        channel.send(PacketType.IN_BAND, HID_ACK)
    clock.advance(1)
    device.close(lambda: None)
    clock.advance(10)
    assert len(channel.receive()) == 50


@pytest.mark.parametrize(
    "payload",
    [b"", b"\1\0\0\0", HID_ACK, synthhid.message(HidMessage.INPUT_REPORT, bytes(7)), b"\1\0\0\0\xff\xff\xff\xff"],
)
def test_a_guest_out_of_its_mind_is_complained_about_and_can_still_have_a_mouse(ram: GuestRam, payload: bytes) -> None:
    clock = Clock()
    device = Mouse(clock)
    channel = opened(ram, device)
    channel.send(PacketType.IN_BAND, payload)
    assert len(clock.complaints) == 1
    channel.send(PacketType.IN_BAND, HID_REQUEST)
    channel.send(PacketType.IN_BAND, HID_ACK)
    assert device.ready


def test_only_in_band_packets_are_listened_to(ram: GuestRam) -> None:
    clock = Clock()
    channel = opened(ram, Keyboard(clock))
    channel.send(PacketType.GPA_DIRECT, KBD_REQUEST, header=bytes(8))
    assert "keyboard: packet type 9" in str(clock.complaints[0])
    assert not channel.receive()
