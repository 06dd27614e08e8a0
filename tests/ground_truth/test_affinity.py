"""Moving channels: protocol versions, isolated CPUs, the default mask. What files answer is tested with the files."""

from __future__ import annotations

import errno

import pytest

from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from protocol.ids import Irq
from protocol.wire.guids import HV_HEART_BEAT_GUID
from protocol.wire.versions import Version
from tests.ground_truth.conftest import HEARTBEAT, STORVSC0, STORVSC1, SUB_CHANNELS, MakeVm, ObservedVm


def affinity(vm: ObservedVm, relid: int) -> tuple[int, int, int, int]:
    """(smp_affinity, effective, hint, target CPU)."""
    desc = vm.systems[0].irq.desc(Irq(vm.irq(relid)))
    return desc.affinity, desc.effective_affinity, desc.affinity_hint, vm.target(relid)


@pytest.mark.parametrize("version", [Version.WIN10_RS3, Version.V5_2])
def test_from_4_1_to_5_2_channels_move_and_no_answer_is_expected(observed: MakeVm, version: Version) -> None:
    vm = observed(Policy.RFC, versions=(version,))
    assert vm.smp_affinity(STORVSC0, 0b100) == 0
    vm.settle()
    assert vm.moves() == [(STORVSC0, 2)]
    assert affinity(vm, STORVSC0) == (0b100, 0b100, 0b1, 2)
    connection = vm.tables.connection
    assert (connection.modchan_sent, connection.modchan_completed) == (1, 0)


def test_at_4_0_a_mask_with_the_target_is_taken_and_any_other_is_einval(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, versions=(Version.WIN10,))
    assert vm.smp_affinity(STORVSC0, 0b10) == errno.EINVAL
    assert vm.smp_affinity(STORVSC0, 0b11) == 0
    assert affinity(vm, STORVSC0) == (0b11, 0b1, 0b1, 0)
    assert vm.smp_affinity(STORVSC0, 0b1) == 0
    assert vm.moves() == []


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


def test_with_cpu_0_isolated_slow_channels_stay_there_without_an_effective_affinity(observed: MakeVm) -> None:
    """isolcpus=managed_irq,0"""
    vm = observed(Policy.RFC, sub_channels=True, topology=Topology((0b1111,), housekeeping=0b1110))
    assert all(vm.target(relid) for relid in (STORVSC0, STORVSC1, *SUB_CHANNELS))
    assert affinity(vm, HEARTBEAT) == (0b1111, 0, 0b1, 0)
    assert vm.smp_affinity(HEARTBEAT, 0b1) == errno.EINVAL
    assert vm.smp_affinity(HEARTBEAT, 0b10) == 0
    vm.settle()
    assert affinity(vm, HEARTBEAT) == (0b10, 0b10, 0b1, 1)


def test_a_default_mask_without_the_target_does_not_keep_a_channel_from_opening(observed: MakeVm) -> None:
    """The start-up choice fails with EIO, for the channel is not open yet, and that is ignored."""
    vm = observed(Policy.RFC)
    vm.systems[0].irq_tables.shared.default_affinity = 0b10
    vm.host.rescind(HEARTBEAT)
    vm.settle()
    vm.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    vm.settle()
    assert affinity(vm, HEARTBEAT) == (0b1, 0b1, 0b1, 0)
    assert vm.moves() == []


def test_every_failed_attempt_advances_the_rotor_that_all_channels_share(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.unbind(HEARTBEAT)
    assert vm.smp_affinity(HEARTBEAT, 0b10) == errno.EIO
    assert vm.smp_affinity(STORVSC0, 0b1110) == 0
    vm.settle()
    assert vm.target(STORVSC0) == 2
