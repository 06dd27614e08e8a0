"""Offers become channels, devices and IRQs, or do not."""

from __future__ import annotations

import pytest

from guest.vmbus.policy import Policy
from guest.vmbus.words import ChannelState
from protocol.wire.guids import (
    HV_AVMA1_GUID,
    HV_HEART_BEAT_GUID,
    HV_IMC_GUID,
    HV_MOUSE_GUID,
    HV_NIC_GUID,
    HV_RDV_GUID,
    HV_SCSI_GUID,
    HV_SHUTDOWN_GUID,
)
from protocol.wire.messages import OpenChannel
from tests.guest_vmbus.conftest import HEARTBEAT, MakeMachine

BOTH = pytest.mark.parametrize("policy", list(Policy))


def test_irq_numbers_count_from_24_in_the_order_of_the_offers(vm: MakeMachine) -> None:
    machine = vm(4, Policy.RFC)
    offers = {
        14: HV_SCSI_GUID,
        7: HV_HEART_BEAT_GUID,
        12: HV_AVMA1_GUID,
        3: HV_MOUSE_GUID,
        1: HV_SHUTDOWN_GUID,
    }
    for relid, class_id in offers.items():
        machine.host.offer(relid, class_id)
    machine.boot()
    assert {relid: machine.irq(relid) for relid in offers} == {14: 24, 7: 25, 12: 0, 3: 26, 1: 27}
    assert machine.irq(3) and " 26:" not in machine.interrupts(), "no row before the first open"
    assert " 24:          0          0          0          0     VMBus  14  storvsc\n" in machine.interrupts()


def test_a_windows_only_offer_leaves_no_trace_under_the_rfc(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC)
    for relid, class_id in ((2, HV_AVMA1_GUID), (6, HV_RDV_GUID), (12, HV_IMC_GUID)):
        machine.host.offer(relid, class_id)
    machine.boot()
    machine.host.rescind(12)
    machine.settle()
    assert machine.host.names() == ["INITIATE_CONTACT", "REQUESTOFFERS"]
    assert list(machine.bus.channels) == []
    assert machine.tables.connection.offer_in_progress == 0
    assert machine.log == ["hv_vmbus: Vmbus version:5.3"]


def test_a_windows_only_offer_is_a_channel_that_nobody_opens_in_legacy(vm: MakeMachine) -> None:
    machine = vm(2, Policy.LEGACY)
    machine.host.offer(12, HV_AVMA1_GUID)
    machine.boot()
    assert machine.tables.channels[12].state == ChannelState.OPEN
    machine.host.rescind(12)
    machine.settle()
    assert machine.host.names()[-1] == "RELID_RELEASED"


@BOTH
def test_a_channel_is_known_to_every_cpu_before_it_is_opened(vm: MakeMachine, policy: Policy) -> None:
    machine = vm(3, policy)
    machine.host.silent.add(OpenChannel)
    machine.host.offer(14, HV_SCSI_GUID)
    machine.boot()
    assert machine.host.names()[-1] == "OPENCHANNEL"
    for cpu in range(3):
        assert machine.channel(14, cpu).inbound.available() == 0
        assert machine.channel(14, cpu).driver is machine.driver(cpu)


@BOTH
def test_sub_channels_go_to_the_driver_of_their_primary_on_the_next_cpu(vm: MakeMachine, policy: Policy) -> None:
    machine = vm(4, policy)
    machine.host.offer(14, HV_SCSI_GUID)
    machine.boot()
    for sub in (1, 2, 3):
        machine.host.offer(22 + sub, HV_SCSI_GUID, sub, instance=14)
    machine.settle()
    primary = machine.channel(14)
    assert [(c.relid, c.target_cpu) for c in primary.sub_channels] == [(23, 1), (24, 2), (25, 3)]
    assert all(c.words.state == ChannelState.OPENED and c.device is primary.device for c in primary.sub_channels)
    assert [m.target_vp for m in machine.host.seen if isinstance(m, OpenChannel)] == [0, 1, 2, 3]


@BOTH
def test_a_second_primary_with_the_same_guids_is_dropped(vm: MakeMachine, policy: Policy) -> None:
    machine = vm(2, policy)
    machine.host.offer(13, HV_NIC_GUID)
    machine.boot()
    seen = len(machine.host.seen)
    machine.host.offer(16, HV_NIC_GUID, instance=13)
    machine.settle()
    assert [channel.relid for channel in machine.bus.channels] == [13]
    assert len(machine.host.seen) == seen
    assert "WARNING" in machine.log[-1]


def test_a_relid_beyond_the_event_flags_is_given_back(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    machine.host.offer(2047, HV_HEART_BEAT_GUID)
    machine.host.offer(2048, HV_HEART_BEAT_GUID)
    machine.boot()
    assert machine.irq(2047) == 24
    assert machine.host.names().count("RELID_RELEASED") == 1


def test_a_channel_that_gets_no_irq_is_given_back(vm: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = vm(2, Policy.RFC)
    monkeypatch.setattr(machine.bus.relids, "map", lambda channel: False)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    assert machine.host.names() == ["INITIATE_CONTACT", "REQUESTOFFERS", "RELID_RELEASED"]
    assert [list(system.bus.channels) for system in machine.systems] == [[], []]


def test_an_unknown_class_is_logged_and_stays_closed_without_a_name(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    offer = machine.host.offer(20, HV_HEART_BEAT_GUID.__class__(int=0xDEADBEEF))
    machine.boot()
    assert f"hv_vmbus: Unknown GUID: {offer.class_id}" in machine.log
    assert machine.channel(20).irq_name == ""
    assert machine.tables.channels[20].state == ChannelState.OPEN


def test_a_name_set_by_the_driver_after_the_open_shows_in_the_table(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    machine.channel(HEARTBEAT).irq_name = "x" * 40
    assert machine.interrupts().splitlines()[1].endswith("  " + "x" * 31)
