"""UNLOAD, a second INITIATE_CONTACT, reset: no answer before the host has let go of the guest's memory."""

import pytest

from host.vmbus.tables.channel import ChannelState
from host.vmbus.tables.connection import ConnectionState
from protocol.ids import ConnectionId, GpadlId, Relid
from protocol.wire.messages import (
    CloseChannel,
    GpadlTeardown,
    OpenChannelResult,
    RelidReleased,
    RequestOffers,
    Unload,
    UnloadResponse,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import ALL_HELD, FakeDevice, Vm


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice(slow=True)


@pytest.fixture
def vm(device: FakeDevice) -> Vm:
    vm = Vm()
    vm.server.offer(device)
    vm.connect(vp=2)
    vm.open(1)
    vm.heard()
    return vm


def test_unload_is_answered_when_the_last_device_has_closed(vm: Vm, device: FakeDevice) -> None:
    vm.send(Unload())
    assert vm.heard() == []
    assert device.log == ["open", "close"]
    device.finish()
    assert vm.heard() == [UnloadResponse()]
    assert vm.server.state is ConnectionState.DISCONNECTED


def test_unload_of_an_idle_guest_is_answered_at_once() -> None:
    vm = Vm()
    vm.connect()
    vm.send(Unload())
    assert vm.heard() == [UnloadResponse()]


def test_the_answer_is_behind_every_signal_of_every_channel() -> None:
    vm = Vm()
    devices = [FakeDevice(instance=instance) for instance in (1, 2, 3)]
    handles = [vm.server.offer(device) for device in devices]
    vm.connect()
    for number, device in enumerate(devices, 1):
        vm.open(number, vp=number)
        device.signal()
    handles[1].rescind()
    vm.heard()
    vm.send(Unload())
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset({1, 2, 3})]


def test_old_signals_concern_nobody_after_a_new_contact(vm: Vm, device: FakeDevice) -> None:
    device.slow = False
    device.signal()
    vm.contact()
    vm.send(Unload())
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset(), frozenset()]


def test_unload_forgets_what_waits_to_be_sent(vm: Vm) -> None:
    vm.send(Unload())
    assert vm.hypervisor.flushed == [(2, 2)]


def test_gpadls_are_torn_down_without_a_word(vm: Vm, device: FakeDevice) -> None:
    vm.describe(1, 1, 2, gpadl=9)
    vm.heard()
    vm.send(GpadlTeardown(Relid(1), GpadlId(0x101)))
    vm.send(Unload())
    device.finish()
    assert vm.names() == ["UNLOAD_RESPONSE"]


def test_nothing_is_heard_while_unloading(vm: Vm) -> None:
    vm.send(Unload())
    vm.send(Unload())
    vm.send(RequestOffers())
    vm.send(CloseChannel(Relid(1)))
    assert vm.heard() == []
    assert len(vm.complained()) == 3


def test_unload_without_a_connection_is_dropped() -> None:
    vm = Vm()
    vm.send(Unload())
    assert vm.heard() == []
    assert vm.complained() == ["UNLOAD in state DISCONNECTED: there is no connection"]


def test_a_contact_takes_the_place_of_the_unload_response(vm: Vm, device: FakeDevice) -> None:
    vm.send(Unload())
    vm.contact(Version.V5_2)
    assert vm.server.state is ConnectionState.RECONNECTING
    device.finish()
    assert vm.names() == ["VERSION_RESPONSE"]
    assert vm.server.version is Version.V5_2


def test_a_second_contact_closes_everything_first(vm: Vm, device: FakeDevice) -> None:
    vm.contact(Version.V5_1, vp=3)
    assert vm.heard() == []
    assert device.log == ["open", "close"]
    device.finish()
    assert [(sent.vp, sent.message.name) for sent in vm.heard_envelopes()] == [(3, "VERSION_RESPONSE")]
    vm.send(RequestOffers())
    assert vm.names() == ["OFFERCHANNEL", "ALLOFFERS_DELIVERED"]


def test_of_several_contacts_the_last_counts(vm: Vm, device: FakeDevice) -> None:
    vm.contact(Version.V5_1, vp=3)
    vm.contact(0x00070000, vp=1)
    vm.contact(Version.V5_0, vp=1)
    device.finish()
    assert [(sent.vp, sent.message.name) for sent in vm.heard_envelopes()] == [(1, "VERSION_RESPONSE")]
    assert vm.server.version is Version.V5_0


def test_the_next_kernel_gets_the_same_relids(vm: Vm, device: FakeDevice) -> None:
    device.slow = False
    vm.server.offer(FakeDevice(instance=2))
    vm.connect()
    assert [snapshot.relid for snapshot in vm.server.snapshot()] == [1, 2]


def test_an_open_that_is_overtaken_by_unload_has_no_result_and_its_device_is_closed_again() -> None:
    vm, device = Vm(ALL_HELD), FakeDevice()
    vm.server.offer(device)
    vm.connect()
    ring = vm.describe(1)
    vm.server.release()
    vm.open(1, ring)
    vm.heard()
    vm.send(Unload())
    assert vm.server.snapshot()[0].state is ChannelState.OPENING_CLIENT_RELEASE
    assert ConnectionId(0x2001) not in vm.hypervisor.event_ports
    device.signal()
    assert vm.hypervisor.signals == []
    vm.server.release()
    assert vm.names() == ["UNLOAD_RESPONSE"]
    assert device.log == ["open", "close"]


def test_a_rescinded_and_released_device_that_still_closes_holds_the_unload_up() -> None:
    vm, device = Vm(), FakeDevice(slow=True)
    handle = vm.server.offer(device)
    vm.connect()
    vm.open(1)
    handle.rescind()
    vm.send(RelidReleased(Relid(1)))
    vm.heard()
    vm.send(Unload())
    assert vm.heard() == []
    device.finish()
    assert vm.names() == ["UNLOAD_RESPONSE"]


def test_a_device_offered_meanwhile_is_announced_on_the_next_connection(vm: Vm, device: FakeDevice) -> None:
    vm.send(Unload())
    vm.server.offer(FakeDevice(instance=2))
    device.finish()
    assert vm.names() == ["UNLOAD_RESPONSE"]
    vm.contact()
    vm.send(RequestOffers())
    assert vm.names() == ["VERSION_RESPONSE", "OFFERCHANNEL", "OFFERCHANNEL", "ALLOFFERS_DELIVERED"]


def test_a_reset_tells_nobody_and_starts_over(vm: Vm, device: FakeDevice) -> None:
    states = [vm.server.state]
    vm.server.reset()
    states.append(vm.server.state)
    device.finish()
    states.append(vm.server.state)
    assert states == [ConnectionState.CONNECTED, ConnectionState.RESETTING, ConnectionState.DISCONNECTED]
    assert vm.heard() == []
    vm.contact(0x00070000, vp=1)
    assert [sent.vp for sent in vm.heard_envelopes()] == [0]


def test_a_contact_during_a_reset_is_answered_after_it(vm: Vm, device: FakeDevice) -> None:
    vm.server.reset()
    vm.contact(vp=1)
    assert vm.heard() == []
    device.finish()
    assert vm.names() == ["VERSION_RESPONSE"]


def test_an_unload_may_close_devices_that_close_at_once(vm: Vm, device: FakeDevice) -> None:
    device.slow = False
    vm.send(Unload())
    assert vm.heard() == [UnloadResponse()]
    vm.connect()
    vm.open(1)
    assert vm.heard()[-1] == OpenChannelResult(Relid(1), 77, 0)
