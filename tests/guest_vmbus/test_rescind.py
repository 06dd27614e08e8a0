"""The host takes channels back."""

from __future__ import annotations

import pytest

from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_NIC_GUID, HV_SCSI_GUID
from protocol.wire.messages import CloseChannel, RelidReleased
from tests.guest_vmbus.conftest import HEARTBEAT, Machine, MakeMachine

POLICIES = pytest.mark.parametrize("policy", list(Policy), ids=lambda policy: policy.value)


def booted(vm: MakeMachine, policy: Policy, cpus: int = 2) -> Machine:
    machine = vm(cpus, policy)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(9, HV_NIC_GUID)
    machine.host.offer(10, HV_SCSI_GUID)
    machine.boot()
    machine.host.seen.clear()
    return machine


@POLICIES
def test_an_open_channel_is_closed_and_released_and_its_gpadl_is_not_asked_back(
    vm: MakeMachine, policy: Policy
) -> None:
    machine = booted(vm, policy)
    before = machine.cores[0].pages.free_pages()
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert machine.host.names() == ["CLOSECHANNEL", "RELID_RELEASED"]
    assert machine.cores[0].pages.free_pages() == before + 4
    for system in machine.systems:
        assert system.bus.channels.get(HEARTBEAT) is None
    assert "heartbeat" not in machine.interrupts()


def test_the_irq_number_is_free_before_the_relid_is_and_is_used_again(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC)
    machine.host.send(HEARTBEAT, b"counted!")
    machine.step()
    assert (machine.irq(HEARTBEAT), machine.row(HEARTBEAT)) == (24, [1, 0])
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    assert (machine.irq(HEARTBEAT), machine.row(HEARTBEAT)) == (24, [0, 0])
    assert machine.tables.channels[HEARTBEAT].interrupts == 0
    machine.host.rescind(9)
    machine.host.rescind(10)
    machine.settle()
    machine.host.offer(30, HV_MOUSE_GUID)
    machine.settle()
    assert machine.irq(30) == 25, "the lowest that is free"


@POLICIES
def test_a_channel_that_was_never_opened_is_only_released(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy)
    machine.host.offer(3, HV_MOUSE_GUID)
    machine.settle()
    machine.host.rescind(3)
    machine.settle()
    assert machine.host.names() == ["RELID_RELEASED"]


@POLICIES
def test_a_rescind_right_behind_its_offer_waits_until_the_offer_is_worked_off(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy)
    machine.host.offer(3, HV_MOUSE_GUID)
    machine.host.rescind(3)
    machine.settle()
    assert machine.host.names() == ["RELID_RELEASED"]
    assert machine.bus.channels.get(3) is None


@POLICIES
def test_a_second_rescind_of_a_channel_is_ignored(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy)
    machine.host.rescind(HEARTBEAT)
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert machine.host.names().count("RELID_RELEASED") == 1


@POLICIES
def test_an_open_sub_channel_goes_when_its_primary_is_closed(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy, cpus=4)
    for sub in (1, 2):
        machine.host.offer(20 + sub, HV_SCSI_GUID, sub, instance=10)
    machine.settle()
    machine.host.seen.clear()
    machine.host.rescind(21)
    machine.settle()
    assert machine.host.names() == [], "only marked"
    machine.host.rescind(22)
    machine.host.rescind(10)
    machine.settle()
    told = [(m.name, m.relid) for m in machine.host.seen if isinstance(m, CloseChannel | RelidReleased)]
    assert told == [
        ("CLOSECHANNEL", 21),
        ("RELID_RELEASED", 21),
        ("CLOSECHANNEL", 22),
        ("RELID_RELEASED", 22),
        ("CLOSECHANNEL", 10),
        ("RELID_RELEASED", 10),
    ]
    assert [channel.relid for channel in machine.bus.channels] == [HEARTBEAT, 9]


@POLICIES
def test_the_cpus_of_a_removed_perf_channel_are_given_away_again(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy, cpus=4)
    assert machine.tables.numa[0].allocated == 0b0011
    machine.host.rescind(9)
    machine.settle()
    assert machine.tables.numa[0].allocated == 0b0010
    machine.host.offer(9, HV_NIC_GUID)
    machine.settle()
    assert machine.channel(9).target_cpu == 0
