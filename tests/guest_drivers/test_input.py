"""Keyboard and mouse of the guest, against the host's own and against hosts that are silent, unwilling or wrong."""

from __future__ import annotations

import errno

import pytest

from guest.drivers.hid_hyperv.driver import HidHyperv, MouseWords
from guest.drivers.hv_balloon.driver import HvBalloon
from guest.drivers.hyperv_fb.driver import HypervFb
from guest.drivers.hyperv_keyboard.driver import HypervKeyboard, KeyboardWords
from guest.vmbus.device import HvDriver
from host.vsp.input.keyboard import Keyboard
from host.vsp.input.mouse import Mouse
from protocol.shell.memory import GuestRam
from protocol.wire import synthhid, synthkbd
from protocol.wire.synthhid import Button, DeviceInfo, HidMessage
from tests.guest_drivers.small import Host, begin, bench_of, plug


@pytest.mark.parametrize("cpu", [0, 1])
def test_keys_are_counted_on_whatever_cpu_the_channel_interrupts(ram: GuestRam, cpu: int) -> None:
    bench = bench_of(ram)
    device = Keyboard(bench.clock)
    line = plug(bench, device, HypervKeyboard, cpu)
    bench.probe(line)
    assert line.signals == 1, "the answer to the version"
    device.type_text("Ab")
    bench.settle()
    for view in line.views:
        words = view.state(KeyboardWords)
        assert (words.makes, words.breaks, words.scan_code) == (3, 3, 0x30 | 0x80)
    device.press(0x4D, synthkbd.Key.E0)
    bench.settle()
    assert line.views[0].state(KeyboardWords).scan_code == 0xE0_CD


@pytest.mark.parametrize("cpu", [0, 1])
def test_the_pointer_is_where_the_host_put_it(ram: GuestRam, cpu: int) -> None:
    bench = bench_of(ram)
    device = Mouse(bench.clock)
    line = plug(bench, device, HidHyperv, cpu)
    bench.probe(line)
    assert device.ready
    words = line.views[1].state(MouseWords)
    assert (words.vendor, words.product) == (0x045E, 0x0621)
    device.move(100, 32767, Button.LEFT)
    bench.settle()
    assert (words.x, words.y, words.buttons, words.reports) == (100, 32767, 1, 1)


@pytest.mark.parametrize(("driver", "seconds"), [(HypervKeyboard, 10), (HidHyperv, 5)])
def test_a_silent_host_is_given_up_in_time(ram: GuestRam, driver: type[HvDriver], seconds: int) -> None:
    bench = bench_of(ram)
    line = plug(bench, Host(), driver)
    outcome = begin(bench, line)
    bench.pass_time(seconds - 0.5)
    assert not outcome
    bench.pass_time(1)
    (error,) = outcome
    assert isinstance(error, OSError)
    assert error.errno == errno.ETIMEDOUT
    assert not line.views[0].mapped, "the channel is closed again"


@pytest.mark.parametrize("driver", [HypervKeyboard, HidHyperv, HypervFb, HvBalloon])
def test_nobody_waits_for_a_host_that_has_taken_the_device_back(ram: GuestRam, driver: type[HvDriver]) -> None:
    bench = bench_of(ram)
    line = plug(bench, Host(), driver)
    outcome = begin(bench, line)
    channel = line.views[0]
    channel.words.rescind = 1
    assert channel.driver is not None
    channel.driver.rescinded(channel)
    bench.settle()
    (error,) = outcome
    assert isinstance(error, OSError)
    assert error.errno == errno.ENODEV


def test_a_mouse_that_is_approved_and_never_described_is_given_up(ram: GuestRam) -> None:
    bench = bench_of(ram)
    host = Host()
    approval = synthhid.ProtocolResponse(synthhid.VERSION, 1).encode()
    host.answer = lambda payload: synthhid.message(HidMessage.PROTOCOL_RESPONSE, approval)
    outcome = begin(bench, plug(bench, host, HidHyperv))
    bench.pass_time(6)
    assert isinstance(outcome[0], OSError)
    assert outcome[0].errno == errno.ETIMEDOUT


def test_an_unwilling_host_means_that_there_is_no_device(ram: GuestRam) -> None:
    bench = bench_of(ram)
    refusing = Host()
    refusing.answer = lambda payload: synthkbd.ProtocolResponse(2, 0).encode()
    (error,) = begin(bench, plug(bench, refusing, HypervKeyboard))
    assert isinstance(error, OSError)
    assert error.errno == errno.ENODEV
    assert any("protocol request failed (version 65536)" in line for line in bench.buses[0].log)


def test_a_description_without_a_report_descriptor_is_of_no_use(ram: GuestRam) -> None:
    bench = bench_of(ram)
    host = Host()

    def answer(payload: bytes) -> bytes | None:
        host.answer = lambda payload: None
        host.say(synthhid.message(HidMessage.PROTOCOL_RESPONSE, synthhid.ProtocolResponse(1, 1).encode()))
        return synthhid.message(HidMessage.INITIAL_DEVICE_INFO, DeviceInfo(report_length=0).encode())

    host.answer = answer
    (error,) = begin(bench, plug(bench, host, HidHyperv))
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL


def test_what_the_host_should_not_send_is_counted_and_dropped(ram: GuestRam) -> None:
    bench = bench_of(ram)
    host = Host()
    host.answer = lambda payload: synthkbd.ProtocolResponse(2, 1).encode()
    line = plug(bench, host, HypervKeyboard)
    bench.probe(line)
    for payload in (b"", b"\3\0\0\0", b"\x99" * 16):
        host.say(payload)
    bench.settle()
    words = line.views[0].state(KeyboardWords)
    assert (words.illegal, words.makes) == (3, 0)
