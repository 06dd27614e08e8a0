"""Rescinds and offers that come again: IRQ numbers, rows, and what the guest says to the host."""

from __future__ import annotations

import pytest

from guest.irq.desc import Life
from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_SCSI_GUID, HV_SHUTDOWN_GUID
from tests.ground_truth.conftest import (
    AVMA,
    HEARTBEAT,
    MOUSE,
    SHUTDOWN,
    STORVSC0,
    STORVSC1,
    TIMESYNC,
    MakeVm,
    ObservedVm,
)


def rescind(vm: ObservedVm, *relids: int) -> list[str]:
    """Rescind channels one by one; what the guest posted because of it."""
    vm.host.seen.clear()
    for relid in relids:
        vm.host.rescind(relid)
        vm.settle()
    return vm.host.names()


def test_an_open_channel_is_closed_and_its_relid_released_but_its_gpadl_is_not_torn_down(each: ObservedVm) -> None:
    assert rescind(each, HEARTBEAT) == ["CLOSECHANNEL", "RELID_RELEASED"]


def test_the_row_goes_and_the_same_offer_gets_the_same_number_with_a_new_count(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.signals(HEARTBEAT, 5)
    irq = vm.irq(HEARTBEAT)
    rescind(vm, HEARTBEAT)
    desc = vm.systems[0].irq_tables.descs[irq]
    assert not any("heartbeat" in line for line in vm.lines())
    assert (desc.life, desc.in_proc) == (Life.FREE, 0)
    vm.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    vm.settle()
    vm.signals(HEARTBEAT, 1)
    assert vm.irq(HEARTBEAT) == irq
    assert " 25:          1          0          0          0     VMBus   7  heartbeat" in vm.lines()


def test_numbers_given_back_are_given_out_lowest_first_also_to_sub_channels(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    assert (vm.irq(SHUTDOWN), vm.irq(TIMESYNC)) == (26, 27)
    rescind(vm, SHUTDOWN, TIMESYNC)
    vm.host.offer(30, HV_SHUTDOWN_GUID)
    vm.settle()
    vm.host.offer(23, HV_SCSI_GUID, sub=1, instance=STORVSC0)
    vm.settle()
    assert (vm.irq(30), vm.irq(23)) == (26, 27)


def test_a_sub_channel_that_is_rescinded_alone_stays_until_its_primary_goes(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, sub_channels=True)
    vm.signals(23, 4)
    assert rescind(vm, 23) == []
    assert any("VMBus  23  sub@storvsc0" in line for line in vm.lines())


def test_sub_channels_and_their_primary_go_in_that_order_and_come_back(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.offer(23, HV_SCSI_GUID, sub=1, instance=STORVSC0)
    vm.settle()
    vm.host.seen.clear()
    vm.host.rescind(23)
    vm.host.rescind(STORVSC0)
    vm.settle()
    assert [(message.name, message.relid) for message in vm.host.seen] == [  # type: ignore[attr-defined]
        ("CLOSECHANNEL", 23),
        ("RELID_RELEASED", 23),
        ("CLOSECHANNEL", STORVSC0),
        ("RELID_RELEASED", STORVSC0),
    ]
    assert not any("storvsc0" in line for line in vm.lines())
    vm.host.offer(STORVSC0, HV_SCSI_GUID)
    vm.settle()
    vm.host.offer(23, HV_SCSI_GUID, sub=1, instance=STORVSC0)
    vm.settle()
    assert [line.split()[-1] for line in vm.lines() if "storvsc0" in line] == ["pri@storvsc0", "sub@storvsc0"]


def test_a_channel_that_was_never_opened_is_only_released(each: ObservedVm) -> None:
    assert rescind(each, MOUSE) == ["RELID_RELEASED"]


@pytest.mark.parametrize(("policy", "posted"), [(Policy.RFC, []), (Policy.LEGACY, ["RELID_RELEASED"])])
def test_d11_the_relid_of_an_offer_dropped_early_is_never_released(
    observed: MakeVm, policy: Policy, posted: list[str]
) -> None:
    vm = observed(policy)
    assert (AVMA in [channel.relid for channel in vm.bus.channels]) == (policy is Policy.LEGACY)
    assert rescind(vm, AVMA) == posted


def test_unbinding_and_binding_works_every_time_without_the_patches_and_on_the_cpu_it_had(observed: MakeVm) -> None:
    vm = observed(Policy.LEGACY)
    for _ in range(5):
        vm.unbind(STORVSC1)
        assert vm.bind(STORVSC1)
    assert vm.host.channels[STORVSC1].target_vp == vm.target(STORVSC1) == 1
