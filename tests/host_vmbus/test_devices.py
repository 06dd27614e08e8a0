"""Devices and their authors' mistakes."""

import pytest

from host.vmbus.options import HostOptions, Step
from host.vmbus.server import VmbusServer
from host.vmbus.tables.channel import ChannelState
from protocol.errors import OperatorError, PeerError
from protocol.ids import Relid, VpIndex
from protocol.wire.messages import CloseChannel
from tests.host_vmbus.conftest import FakeDevice, FakeHypervisor, Vm


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def vm(device: FakeDevice) -> Vm:
    vm = Vm()
    vm.server.offer(device)
    vm.connect()
    vm.open(1)
    vm.heard()
    return vm


def test_a_doorbell_reaches_the_device_and_is_counted(vm: Vm, device: FakeDevice) -> None:
    vm.ring_doorbell(1)
    vm.ring_doorbell(1)
    assert device.log == ["open", "doorbell", "doorbell"]
    assert vm.server.snapshot()[0].doorbells == 2


def test_a_guest_that_rings_with_nonsense_in_its_ring_is_complained_about(vm: Vm, device: FakeDevice) -> None:
    device.doorbell_error = PeerError("corrupt")
    vm.ring_doorbell(1)
    assert vm.complained() == ["corrupt"]
    assert vm.server.snapshot()[0].state is ChannelState.OPEN


def test_a_device_that_crashes_on_a_doorbell_is_its_authors_business(vm: Vm, device: FakeDevice) -> None:
    device.doorbell_error = KeyError("tag")
    vm.ring_doorbell(1)
    (complaint,) = vm.complaints
    assert isinstance(complaint, OperatorError)
    assert isinstance(complaint.__cause__, KeyError)


def test_a_device_that_crashes_while_closing_counts_as_closed(vm: Vm, device: FakeDevice) -> None:
    device.close_error = RuntimeError("stuck")
    vm.send(CloseChannel(Relid(1)))
    assert vm.server.snapshot()[0].state is ChannelState.CLOSED
    assert len(vm.complained()) == 1


def test_a_device_that_is_done_twice_is_done_once(vm: Vm, device: FakeDevice) -> None:
    device.slow = True
    vm.send(CloseChannel(Relid(1)))
    done = device.done
    assert done is not None
    device.finish()
    done()
    assert vm.server.snapshot()[0].state is ChannelState.CLOSED
    assert vm.complained() == [f"{device.class_id}: call done once per close, not twice"]


def test_a_vp_whose_synic_is_off_loses_the_signal_and_the_report_says_so(vm: Vm, device: FakeDevice) -> None:
    vm.hypervisor.synic_off.add(VpIndex(1))
    device.signal()
    vm.hypervisor.synic_off.clear()
    assert vm.hypervisor.signals == []
    assert vm.server.snapshot()[0].signals_refused == 1


@pytest.mark.parametrize("options", [HostOptions(delay={Step.OPEN: 1.0}), HostOptions(look_after_open=True)])
def test_an_option_that_needs_a_clock_needs_a_clock(options: HostOptions) -> None:
    with pytest.raises(OperatorError, match="call_later"):
        VmbusServer(FakeHypervisor(), options, print, fence=lambda: None)
    server = VmbusServer(FakeHypervisor(), HostOptions(), print, fence=lambda: None)
    with pytest.raises(OperatorError, match="call_later"):
        server.options = options
