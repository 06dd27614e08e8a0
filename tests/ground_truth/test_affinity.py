"""Where channels go: while the host is slow, and past an isolated CPU. What files answer is tested with the files."""

from __future__ import annotations

import errno

from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from protocol.ids import Irq
from tests.ground_truth.conftest import HEARTBEAT, STORVSC0, STORVSC1, SUB_CHANNELS, MakeVm, ObservedVm


def affinity(vm: ObservedVm, relid: int) -> tuple[int, int, int, int]:
    """(smp_affinity, effective, hint, target CPU)."""
    desc = vm.systems[0].irq.desc(Irq(vm.irq(relid)))
    return desc.affinity, desc.effective_affinity, desc.affinity_hint, vm.target(relid)


def test_the_writer_does_not_wait_for_the_host(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.modify_after = 1.0
    assert vm.smp_affinity(STORVSC0, 0b100) == 0
    vm.step()
    assert affinity(vm, STORVSC0) == (0b100, 0b100, 0b1, 2)
    assert vm.host.channels[STORVSC0].target_vp == 0
    vm.signals(STORVSC0, 1)
    assert vm.row(STORVSC0) == [1, 0, 0, 0], "until the host has moved it the old CPU is interrupted"


def test_no_channel_starts_on_an_isolated_cpu_and_none_can_be_sent_there(observed: MakeVm) -> None:
    """isolcpus=managed_irq,1"""
    vm = observed(Policy.RFC, sub_channels=True, topology=Topology((0b1111,), housekeeping=0b1101))
    assert all(vm.target(relid) != 1 for relid in (STORVSC0, STORVSC1, HEARTBEAT, *SUB_CHANNELS))
    assert vm.smp_affinity(STORVSC0, 0b10) == errno.EINVAL
    assert [vm.smp_affinity(STORVSC0, mask) for mask in (0b1111, 0b11)] == [0, 0], "its target is in them"
    assert affinity(vm, STORVSC0) == (0b11, 0b1, 0b1, 0)
    assert vm.moves() == []
