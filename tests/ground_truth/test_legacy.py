"""Without the patches: the writer of ``cpu`` waits for the host, and hotplug waits for the writer."""

from __future__ import annotations

import errno

from guest.vmbus.policy import Policy
from protocol.wire.messages import ModifyChannel
from protocol.wire.versions import Version
from tests.ground_truth.conftest import STORVSC1, MakeVm

OLD = 1
"""The CPU that storvsc1 has."""


def test_a_writer_waits_for_a_slow_host_an_offline_waits_for_the_writer_and_nothing_is_lost(observed: MakeVm) -> None:
    vm = observed(Policy.LEGACY)
    vm.host.modify_after = 2.0
    moved = vm.cpu_store(STORVSC1, 0)
    vm.pass_time(0.2)
    gone = vm.start_offline(OLD)
    vm.pass_time(1.7)
    assert (moved, gone) == ([], []), "1.9 s"
    assert vm.target(STORVSC1) == OLD, "cpu still reads the old value"
    assert vm.host.send(STORVSC1, b"on the old CPU")
    vm.pass_time(0.2)
    assert (moved, gone) == ([0], [0])
    assert vm.log[-1] == "smpboot: CPU 1 is now offline"
    assert vm.received(OLD) == [(STORVSC1, b"on the old CPU")]
    assert vm.host.send(STORVSC1, b"on the new one")
    vm.step()
    assert vm.received(0) == [(STORVSC1, b"on the new one")]


def test_behind_a_host_that_never_answers_no_cpu_comes_or_goes(observed: MakeVm) -> None:
    vm = observed(Policy.LEGACY)
    assert vm.online(3, "0") == 0
    vm.host.silent.add(ModifyChannel)
    moved = vm.cpu_store(STORVSC1, 0)
    gone, back = vm.start_offline(2), vm.start(vm.systems[1].hotplug.online_store(vm.cores[3].cpu, "1"), cpu=1)
    vm.pass_time(3600)
    assert (moved, gone, back) == ([], [], [])
    assert vm.target(STORVSC1) == OLD


def test_r1_below_5_3_exists_without_the_patches_too(observed: MakeVm) -> None:
    vm = observed(Policy.LEGACY, versions=(Version.V5_2,))
    vm.host.modify_after = 0.4
    assert vm.cpu_store(STORVSC1, 0) == [0]
    log = list(vm.log)
    assert vm.online(OLD, "0") == 0
    assert vm.log[len(log) :] == ["smpboot: CPU 1 is now offline"]
    assert vm.host.send(STORVSC1, b"lost") is False
    vm.settle()
    assert vm.host.send(STORVSC1, b"no edge") is False
    vm.settle()
    assert vm.received(0) == []


def test_a_closed_channel_cannot_be_moved_and_keeps_its_cpu_until_it_is_opened_again(observed: MakeVm) -> None:
    vm = observed(Policy.LEGACY)
    vm.unbind(STORVSC1)
    assert vm.online(OLD, "0") == errno.EBUSY
    assert (vm.cpu_store(STORVSC1, 0), vm.cpu_store(STORVSC1, OLD)) == ([errno.EIO], [errno.EIO])
    assert vm.bind(STORVSC1)
    vm.cpu_store(STORVSC1, 0)
    vm.settle()
    assert vm.online(OLD, "0") == 0


def test_with_the_patches_a_closed_channel_is_as_stuck_but_where_it_is_it_may_stay(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.unbind(STORVSC1)
    assert (vm.smp_affinity(STORVSC1, 0b1), vm.cpu_store(STORVSC1, 0)) == (errno.EIO, [errno.EIO])
    assert (vm.smp_affinity(STORVSC1, 0b10), vm.smp_affinity(STORVSC1, 0b11)) == (0, 0)
    assert vm.online(OLD, "0") == errno.EBUSY
