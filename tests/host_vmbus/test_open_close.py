"""OPENCHANNEL, CLOSECHANNEL, and opening again without waiting."""

import pytest

from host.vmbus.options import UNTIL_RELEASED, HostOptions, Step
from host.vmbus.tables.channel import ChannelState
from host.vsp.device import VspChannel
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, GpadlId, Pfn, Relid, VpIndex
from protocol.ring import RingReader, RingWriter
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.messages import (
    NO_INTERRUPTS,
    CloseChannel,
    GpadlTeardown,
    NtStatus,
    OpenChannel,
    OpenChannelResult,
    RelidReleased,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import RAM_PAGES, RING, FakeDevice, Vm, shared_ram

OK = OpenChannelResult(Relid(1), 77, NtStatus.SUCCESS)
FAILED = OpenChannelResult(Relid(1), 77, NtStatus.UNSUCCESSFUL)


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def vm(device: FakeDevice) -> Vm:
    vm = Vm()
    vm.server.offer(device)
    vm.connect()
    return vm


def test_an_open_is_answered_with_its_open_id_and_the_device_gets_the_drivers_bytes(vm: Vm, device: FakeDevice) -> None:
    vm.open(1, id=0xABCD)
    assert vm.heard()[-1] == OpenChannelResult(Relid(1), 0xABCD, 0)
    assert device.user_data == b"driver".ljust(120, b"\0")
    assert vm.complained() == []


def test_rings_and_doorbell_are_ready_before_the_device_opens_and_the_result_comes_last(
    vm: Vm, device: FakeDevice
) -> None:
    seen: list[object] = []

    def on_open(channel: VspChannel) -> None:
        seen.append(ConnectionId(0x2001) in vm.hypervisor.event_ports)
        seen.append(channel.incoming.available())
        channel.signal()
        seen.append(vm.names())

    device.on_open = on_open
    vm.open(1, vp=3)
    assert seen == [True, 0, ["GPADL_CREATED"]]
    assert vm.hypervisor.signals == [(3, 2, 1)]
    assert vm.names() == ["OPENCHANNEL_RESULT"]


def test_the_upstream_ring_is_the_first_part_and_the_downstream_ring_the_second(vm: Vm, device: FakeDevice) -> None:
    upstream, downstream = shared_ram().ring(RING[:3]), shared_ram().ring(RING[3:])
    upstream.init()
    downstream.init()
    vm.open(1, downstream=3)
    assert device.channel is not None
    guest = RingWriter(upstream, lambda: None)
    assert guest.put(6, b"to host!")
    guest.commit()
    assert device.channel.incoming.available() > 0
    assert device.channel.outgoing.put(6, b"to guest")
    device.channel.outgoing.commit()
    assert RingReader(downstream, lambda: None).available() > 0


@pytest.mark.parametrize("downstream", [0, 1, 7, 8, 0xFFFFFFFF])
def test_a_ring_without_a_data_area_is_refused(vm: Vm, device: FakeDevice, downstream: int) -> None:
    vm.open(1, downstream=downstream)
    assert vm.heard()[-1] == FAILED
    assert device.log == []
    assert vm.hypervisor.event_ports == {}
    (complaint,) = vm.complained()
    assert complaint.endswith("no room for two rings")


@pytest.mark.parametrize("downstream", [2, 6])
def test_the_smallest_rings_have_two_pages(vm: Vm, downstream: int) -> None:
    vm.open(1, downstream=downstream)
    assert vm.heard()[-1] == OK


@pytest.mark.parametrize(
    "ranges",
    [
        [GpaRange.whole_pages(RING[:4]), GpaRange.whole_pages(RING[4:])],
        [GpaRange(4096 * 8, 8, (*RING, Pfn(20)))],
        [GpaRange(4096 * 8 - 8, 0, RING)],
    ],
    ids=["two ranges", "an offset", "half a page"],
)
def test_rings_are_one_range_of_whole_pages(vm: Vm, ranges: list[GpaRange]) -> None:
    for message in split(Relid(1), GpadlId(5), ranges):
        vm.send(message)
    vm.open(1, gpadl=5)
    assert vm.heard()[-1] == FAILED


def test_rings_in_a_gpadl_that_is_not_there_are_refused(vm: Vm) -> None:
    vm.open(1, gpadl=0x999)
    assert vm.heard() == [FAILED]


def test_rings_in_a_gpadl_of_another_channel_are_refused(vm: Vm) -> None:
    vm.server.offer(FakeDevice(instance=2))
    other = vm.describe(2)
    vm.open(1, gpadl=other)
    assert vm.heard()[-1] == FAILED


def test_a_target_vp_that_does_not_exist_is_refused(vm: Vm) -> None:
    vm.open(1, vp=4)
    assert vm.heard()[-1] == FAILED


def test_after_a_refusal_the_channel_can_be_opened_properly(vm: Vm) -> None:
    ring = vm.open(1, downstream=0)
    vm.open(1, ring)
    assert vm.heard()[-2:] == [FAILED, OK]


def test_a_channel_opened_without_interrupts_never_signals(vm: Vm, device: FakeDevice) -> None:
    vm.open(1, vp=NO_INTERRUPTS)
    assert vm.heard()[-1] == OK
    device.signal()
    assert vm.hypervisor.signals == []
    assert vm.server.snapshot()[0].signals_refused == 0


@pytest.mark.parametrize("error", [PeerError("what is this?"), ValueError("oops")])
def test_a_device_that_will_not_open_refuses_the_guest_and_not_the_server(
    vm: Vm, device: FakeDevice, error: Exception
) -> None:
    device.open_error = error
    vm.open(1)
    assert vm.heard()[-1] == FAILED
    assert vm.hypervisor.event_ports == {}
    device.open_error = None
    vm.open(1)
    assert vm.heard()[-1] == OK
    assert device.log == ["open"]
    (complaint,) = vm.complaints
    assert isinstance(complaint, PeerError if isinstance(error, PeerError) else OperatorError)


def test_opening_what_is_open_is_ignored_and_has_no_answer(vm: Vm) -> None:
    ring = vm.open(1)
    vm.heard()
    vm.open(1, ring)
    assert vm.heard() == []
    assert vm.complained() == ["OPENCHANNEL in state OPEN: the channel is already open"]


def test_close_has_no_answer(vm: Vm, device: FakeDevice) -> None:
    vm.open(1)
    vm.heard()
    vm.send(CloseChannel(Relid(1)))
    assert vm.heard() == []
    assert device.log == ["open", "close"]
    assert vm.hypervisor.event_ports == {}


def test_closing_what_is_not_open_is_ignored(vm: Vm, device: FakeDevice) -> None:
    vm.send(CloseChannel(Relid(1)))
    assert vm.complained() == ["CLOSECHANNEL in state CLOSED: the channel is not open"]
    assert device.log == []


def test_an_open_that_comes_while_the_device_closes_waits_for_it(vm: Vm, device: FakeDevice) -> None:
    device.slow = True
    ring = vm.open(1, id=1)
    vm.heard()
    vm.send(CloseChannel(Relid(1)))
    vm.open(1, ring, id=2, vp=3)
    assert vm.heard() == []
    device.finish()
    assert vm.heard() == [OpenChannelResult(Relid(1), 2, 0)]
    assert device.log == ["open", "close", "open"]
    assert vm.server.snapshot()[0].target_vp == 3
    assert vm.server.snapshot()[0].opens == 2


def test_a_reopen_with_rings_that_were_torn_down_meanwhile_is_refused_after_the_torndown(
    vm: Vm, device: FakeDevice
) -> None:
    device.slow = True
    ring = vm.open(1)
    vm.heard()
    vm.send(CloseChannel(Relid(1)))
    vm.open(1, ring)
    vm.send(GpadlTeardown(Relid(1), GpadlId(ring)))
    assert vm.heard() == []
    device.finish()
    assert vm.names() == ["GPADL_TORNDOWN", "OPENCHANNEL_RESULT"]
    assert vm.server.snapshot()[0].state is ChannelState.CLOSED


def test_a_closed_device_cannot_interrupt_the_next_opening(vm: Vm, device: FakeDevice) -> None:
    ring = vm.open(1)
    former = device.channel
    assert former is not None
    vm.send(CloseChannel(Relid(1)))
    vm.open(1, ring)
    former.signal()
    assert vm.hypervisor.signals == []


def test_a_channel_in_use_cannot_be_released(vm: Vm) -> None:
    vm.open(1)
    vm.heard()
    vm.send(RelidReleased(Relid(1)))
    assert vm.complained() == ["RELID_RELEASED in state OPEN: the channel is in use"]
    assert vm.server.snapshot()[0].state is ChannelState.OPEN


def test_a_channel_released_while_its_device_closes_is_the_devices_business_only(vm: Vm, device: FakeDevice) -> None:
    device.slow = True
    vm.open(1)
    vm.heard()
    vm.send(CloseChannel(Relid(1)))
    vm.send(RelidReleased(Relid(1)))
    assert vm.server.snapshot()[0].state is ChannelState.CLOSING_CLIENT_RELEASE
    device.finish()
    assert vm.server.snapshot()[0].state is ChannelState.CLIENT_RELEASED
    assert vm.heard() == []


@pytest.mark.parametrize("relid", [0, 2, 2047, 2048, 0xFFFFFFFF])
def test_messages_about_unknown_channels_are_ignored(vm: Vm, relid: int) -> None:
    vm.send(CloseChannel(Relid(relid)))
    vm.send(RelidReleased(Relid(relid)))
    vm.send(OpenChannel(Relid(relid), 1, GpadlId(1), VpIndex(0), 4, b""))
    vm.send(GpadlTeardown(Relid(relid), GpadlId(1)))
    assert vm.heard() == []
    assert len(vm.complained()) == 4


def test_a_slow_host_may_interrupt_before_it_answers_the_open(device: FakeDevice) -> None:
    vm = Vm(HostOptions(delay={Step.OPEN: UNTIL_RELEASED}))
    vm.server.offer(device)
    vm.connect()
    vm.open(1, vp=2)
    device.signal()
    assert vm.names() == ["GPADL_CREATED"]
    assert vm.hypervisor.signals == [(2, 2, 1)]
    assert vm.server.release(Step.OPEN, Relid(2)) == 0
    assert vm.server.release(Step.OPEN, Relid(1)) == 1
    assert vm.names() == ["OPENCHANNEL_RESULT"]


def test_a_delay_in_seconds_is_the_clocks_business(device: FakeDevice) -> None:
    vm = Vm(HostOptions(delay={Step.OPEN: 0.5}))
    vm.server.offer(device)
    vm.connect()
    vm.open(1)
    vm.heard()
    ((seconds, fire),) = vm.timers
    assert seconds == 0.5
    fire()
    assert vm.heard() == [OK]
    assert vm.server.release() == 0


def test_the_look_after_open_is_off_by_default(vm: Vm) -> None:
    vm.open(1)
    assert vm.timers == []


def test_the_look_after_open_wakes_each_side_that_has_something_to_read(device: FakeDevice) -> None:
    downstream = shared_ram().ring(RING[4:])
    downstream.init()
    vm = Vm(HostOptions(look_after_open=True))
    vm.server.offer(device)
    vm.connect()
    vm.open(1, vp=2)
    ((seconds, look),) = vm.timers
    assert seconds == 0.1
    look()
    assert (device.log, vm.hypervisor.signals) == (["open", "doorbell"], [])
    writer = RingWriter(downstream, lambda: None)
    writer.put(6, b"unheard!")
    writer.commit()
    look()
    assert vm.hypervisor.signals == [(2, 2, 1)]
    vm.send(CloseChannel(Relid(1)))
    look()
    vm.open(1)
    look()
    assert device.log == ["open", "doorbell", "doorbell", "close", "open"]


def test_below_5_3_opening_is_the_same(device: FakeDevice) -> None:
    for version in (Version.WIN8, Version.WIN10, Version.V5_0, Version.V6_0):
        vm = Vm()
        vm.server.offer(FakeDevice())
        vm.connect(version)
        vm.open(1)
        assert vm.names() == ["GPADL_CREATED", "OPENCHANNEL_RESULT"]


def test_pages_outside_ram_never_become_rings(vm: Vm) -> None:
    vm.describe(1, *range(RAM_PAGES - 4, RAM_PAGES + 4), gpadl=3)
    vm.open(1, gpadl=3)
    assert vm.names() == ["GPADL_CREATED", "OPENCHANNEL_RESULT"]
    assert len(vm.complained()) == 1
    assert vm.server.snapshot()[0].opens == 0
