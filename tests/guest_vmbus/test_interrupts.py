"""What one event does to the counters, by design. The answers were observed on real kernels."""

from __future__ import annotations

import random

import pytest

from guest.irq.desc import IrqCpuStat
from guest.irq.flags import IRQS_PENDING
from guest.vmbus.policy import Policy
from guest.vmbus.words import VmbusCpuWords
from protocol.ids import VpIndex
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_SCSI_GUID
from protocol.wire.messages import AllOffersDelivered
from protocol.wire.synic import MESSAGE_SINT
from tests.guest_vmbus.conftest import HEARTBEAT, Machine, MakeMachine, Unmatched

MOUSE, DISK = 3, 14


@pytest.fixture(params=list(Policy), ids=lambda policy: policy.value)
def machine(request: pytest.FixtureRequest, vm: MakeMachine) -> Machine:
    """Heartbeat open on CPU 0, a disk open on CPU 0, a mouse that nobody opens."""
    made = vm(2, request.param)
    made.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    made.host.offer(DISK, HV_SCSI_GUID)
    made.host.offer(MOUSE, HV_MOUSE_GUID)
    made.boot()
    return made


class Delta:
    """Counters of one CPU since the last look."""

    def __init__(self, machine: Machine, cpu: int = 0) -> None:
        self._machine = machine
        self._cpu = cpu
        self._last = self._all()

    def _all(self) -> dict[str, int]:
        mine = self._machine.tables.cpus[self._cpu]
        counts: dict[str, int] = {name: getattr(mine, name) for name in SCAN}
        core = self._machine.systems[0].irq_tables.cpu_stat[self._cpu]
        counts |= {name: getattr(core, name) for name in IrqCpuStat.fields}
        return counts | {"hyp": self._machine.hyp(self._cpu)}

    def take(self) -> dict[str, int]:
        now, last = self._all(), self._last
        self._last = now
        return {name: now[name] - last[name] for name in now if now[name] != last[name]}


SCAN = [name for name in VmbusCpuWords.fields if not name.startswith("messages")]


def is_rfc(machine: Machine) -> bool:
    return machine.bus.policy is Policy.RFC


def test_a_vector_that_brings_nothing_counts_in_legacy_only(machine: Machine) -> None:
    delta = Delta(machine)
    for _ in range(5):
        machine.vector(0)
    expected = {"interrupts": 5, "spurious": 5}
    assert delta.take() == (expected if is_rfc(machine) else expected | {"hyp": 5})


@pytest.mark.parametrize(("relid", "counter"), [(0, "bit_zero"), (99, "unmapped")])
def test_a_bit_of_no_channel_is_cleared_and_dropped(machine: Machine, relid: int, counter: str) -> None:
    delta = Delta(machine)
    machine.host.signal(relid, vp=0)
    machine.step()
    expected = {"interrupts": 1, "bits_cleared": 1, counter: 1}
    assert delta.take() == (expected if is_rfc(machine) else expected | {"hyp": 1})
    flags = machine.ports[0].flag_words(MESSAGE_SINT)
    assert flags is not None and not any(flags)


def test_a_bit_of_a_channel_that_was_never_opened_is_kept_pending_under_the_rfc(machine: Machine) -> None:
    delta = Delta(machine)
    machine.host.signal(MOUSE, vp=0)
    machine.step()
    common = {"interrupts": 1, "bits_cleared": 1}
    if is_rfc(machine):
        assert delta.take() == common | {"pended_no_action": 1}
        assert machine.systems[0].irq_tables.descs[machine.irq(MOUSE)].istate & IRQS_PENDING
    else:
        assert delta.take() == common | {"no_callback": 1, "hyp": 1}
    assert machine.tables.channels[MOUSE].interrupts == 0


def test_an_open_channel_counts_on_its_row_and_not_as_hyp(machine: Machine) -> None:
    delta = Delta(machine)
    for number in range(50):
        assert machine.host.send(HEARTBEAT, number.to_bytes(8, "little"))
        machine.step()
    assert machine.tables.channels[HEARTBEAT].interrupts == 50
    assert machine.driver().received == [(HEARTBEAT, n.to_bytes(8, "little")) for n in range(50)]
    common = {"interrupts": 50, "bits_cleared": 50, "dispatched": 50}
    if is_rfc(machine):
        assert delta.take() == common | {"irqs_sum": 50}
        assert machine.row(HEARTBEAT) == [50, 0]
    else:
        assert delta.take() == common | {"hyp": 50}


def test_two_bits_in_one_vector_are_two_channel_interrupts(machine: Machine) -> None:
    delta = Delta(machine)
    machine.partition.signal(machine.ports[0].vp, MESSAGE_SINT, HEARTBEAT)
    machine.host.signal(DISK)
    machine.step()
    common = {"interrupts": 1, "bits_cleared": 2, "dispatched": 2}
    if is_rfc(machine):
        assert delta.take() == common | {"irqs_sum": 2}
        assert (machine.row(HEARTBEAT), machine.row(DISK)) == ([1, 0], [1, 0])
    else:
        assert delta.take() == common | {"hyp": 1}


def test_two_signals_before_the_scan_are_one(machine: Machine) -> None:
    machine.host.signal(DISK)
    machine.host.signal(DISK)
    machine.step()
    assert machine.tables.channels[DISK].interrupts == 1


def test_an_interrupt_on_another_cpu_than_the_target_is_handled_where_it_came(machine: Machine) -> None:
    delta = Delta(machine, cpu=1)
    for _ in range(3):
        machine.host.signal(HEARTBEAT, vp=1)
        machine.step()
    common = {"interrupts": 3, "bits_cleared": 3, "dispatched": 3}
    if is_rfc(machine):
        assert delta.take() == common | {"irqs_sum": 3}
        assert machine.row(HEARTBEAT) == [0, 3]
    else:
        assert delta.take() == common | {"hyp": 3}
    assert machine.driver(1).callbacks == 3
    assert machine.driver(0).callbacks == 0


def test_a_closed_channel_still_counts_on_its_row_under_the_rfc(machine: Machine) -> None:
    """D1: the IRQ stays requested."""
    machine.unbind(HEARTBEAT)
    assert machine.host.names()[-2:] == ["CLOSECHANNEL", "GPADL_TEARDOWN"]
    delta = Delta(machine)
    for _ in range(3):
        machine.host.signal(HEARTBEAT, vp=0)
        machine.step()
    common = {"interrupts": 3, "bits_cleared": 3, "no_callback": 3}
    if is_rfc(machine):
        assert delta.take() == common | {"irqs_sum": 3}
        assert machine.row(HEARTBEAT) == [3, 0]
        assert "VMBus   7  heartbeat\n" in machine.interrupts()
    else:
        assert delta.take() == common | {"hyp": 3}
    assert machine.tables.channels[HEARTBEAT].interrupts == 0


def test_a_rescinded_channel_s_bits_are_dropped(machine: Machine) -> None:
    machine.tables.channels[HEARTBEAT].rescind = 1
    delta = Delta(machine)
    machine.host.signal(HEARTBEAT)
    machine.step()
    expected = {"interrupts": 1, "bits_cleared": 1, "rescinded": 1}
    assert delta.take() == (expected if is_rfc(machine) else expected | {"hyp": 1})


def test_control_messages_count_as_hyp_one_by_one(machine: Machine) -> None:
    delta = Delta(machine)
    for _ in range(20):
        machine.host.post(AllOffersDelivered())
    machine.step()
    found = delta.take()
    assert found == {"interrupts": 20, "with_message": 20, "hyp": 20}
    assert machine.tables.cpus[0].messages[AllOffersDelivered.number] == 21


def test_hyp_after_boot_is_the_number_of_messages_under_the_rfc(machine: Machine) -> None:
    messages = sum(machine.tables.cpus[0].messages)
    if is_rfc(machine):
        assert machine.hyp() == messages == machine.partition.processors[0].counts.messages_sent
    else:
        assert machine.hyp() >= messages
    assert machine.hyp(1) == 0


def test_events_before_the_first_open_are_replayed_once_by_it(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC, driver=Unmatched)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    for _ in range(2):
        machine.host.signal(HEARTBEAT, vp=0)
        machine.step()
    assert machine.row(HEARTBEAT) == [0, 0]
    assert machine.bind(HEARTBEAT)
    assert machine.row(HEARTBEAT) == [1, 0]
    assert machine.driver().callbacks == 1


def test_a_replay_during_an_open_that_the_host_refuses_stays_counted(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC, driver=Unmatched)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    machine.host.signal(HEARTBEAT, vp=1)
    machine.step()
    machine.host.open_status = 0xC0000001
    assert not machine.bind(HEARTBEAT)
    assert machine.row(HEARTBEAT) == [1, 0], "replayed where it was opened"
    machine.host.open_status = 0
    assert machine.bind(HEARTBEAT)
    assert machine.row(HEARTBEAT) == [1, 0], "and not again"


def test_every_bit_that_was_cleared_is_accounted_for(machine: Machine) -> None:
    """Invariant I11, on both CPUs, over a few hundred events of all kinds."""
    machine.unbind(HEARTBEAT)
    machine.tables.channels[DISK].rescind = 0
    choose = random.Random(1).choice
    for _ in range(300):
        machine.tables.channels[DISK].rescind = choose((0, 0, 0, 1))
        for _ in range(choose((0, 1, 3))):
            machine.partition.signal(VpIndex(choose((0, 1))), MESSAGE_SINT, choose((0, 99, MOUSE, HEARTBEAT, DISK)))
        machine.host.signal(0, vp=choose((0, 1)))
        if choose((True, False)):
            machine.vector(0)
        machine.step()
    for cpu in range(2):
        counts, irq = machine.tables.cpus[cpu], machine.systems[0].irq_tables.cpu_stat[cpu]
        delivered = counts.bits_cleared - counts.bit_zero - counts.unmapped - counts.rescinded
        handled = counts.no_callback + counts.dispatched
        assert handled > 20
        if is_rfc(machine):
            runs = irq.irqs_sum + irq.dropped_in_progress + irq.pended_no_action + irq.pended_disabled
            assert (delivered, handled) == (runs - irq.replayed, irq.irqs_sum - irq.bad)
        else:
            assert delivered == handled
        assert machine.ports[cpu].counts.signals_new == counts.bits_cleared
        assert machine.ports[cpu].counts.vectors_taken >= counts.interrupts
    if is_rfc(machine):
        assert machine.hyp() == machine.tables.cpus[0].with_message
    else:
        assert machine.hyp() == machine.tables.cpus[0].interrupts
