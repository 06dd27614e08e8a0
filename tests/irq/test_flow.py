"""What becomes of one interrupt, and of every one: counted and handled, kept for later, or dropped and accounted."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from guest.irq.alloc import alloc_desc, free_desc, set_chip_and_handler
from guest.irq.chip import IrqChip
from guest.irq.desc import IrqDesc
from guest.irq.flags import IRQD_IRQ_DISABLED, IRQD_IRQ_INPROGRESS, IRQS_PENDING, IRQS_REPLAY, IRQS_SYSFS
from guest.irq.flow import Flow
from guest.irq.manage import disable_irq, enable_irq, free_irq, request_irq
from protocol.ids import Irq
from tests.irq.conftest import Machine


def counts(machine: Machine, irq: Irq) -> list[int]:
    return [column.counts[irq] for column in machine.tables.kstat]


def test_an_interrupt_is_counted_on_the_cpu_that_took_it_whatever_its_target(machine: Machine) -> None:
    irq = machine.cpus[0].map(14)
    machine.cpus[0].request(irq, "pri@storvsc0")
    for cpu in (0, 1, 1, 3):
        machine.cpus[cpu].interrupt(14)
    assert counts(machine, irq) == [1, 2, 0, 1]
    assert [stat.irqs_sum for stat in machine.tables.cpu_stat] == [1, 2, 0, 1]
    assert machine.tables.descs[irq].tot_count == 4
    assert machine.cpus[1].ran == [(irq, 1000 + irq)] * 2


def test_an_unmapped_bit_leaves_no_trace(machine: Machine) -> None:
    before = bytes(machine.words)
    machine.cpus[0].interrupt(99)
    machine.cpus[0].interrupt(2048)
    assert bytes(machine.words) == before


def test_the_second_of_two_simultaneous_interrupts_is_dropped_uncounted(machine: Machine) -> None:
    """R8: while CPU 0 handles the IRQ, the host, which moved it meanwhile, raises it on CPU 1."""
    first, second = machine.cpus[:2]
    irq = first.map(14)
    first.request(irq, "netvsc")
    first.at["irq.flow.in_progress"] = lambda: second.interrupt(14)
    first.interrupt(14)
    assert counts(machine, irq) == [1, 0, 0, 0]
    assert second.ran == []
    assert machine.tables.cpu_stat[1].dropped_in_progress == 1
    assert machine.tables.descs[irq].istate == IRQS_SYSFS, "nothing is kept for later"
    second.interrupt(14)
    assert counts(machine, irq) == [1, 1, 0, 0]


@pytest.mark.parametrize("where", ["irq.flow.entered", "irq.flow.in_progress", "irq.flow.handled"])
def test_every_interleaving_of_two_cpus_accounts_for_both_interrupts(machine: Machine, where: str) -> None:
    first, second = machine.cpus[:2]
    irq = first.map(14)
    first.request(irq, "netvsc")
    first.at[where] = lambda: second.interrupt(14)
    first.interrupt(14)
    dropped = machine.tables.cpu_stat[1].dropped_in_progress
    assert sum(counts(machine, irq)) + dropped == 2
    assert dropped == (where != "irq.flow.entered")
    assert not machine.tables.descs[irq].dstate & IRQD_IRQ_INPROGRESS


def test_two_threads_lose_no_count_and_no_interrupt(machine: Machine) -> None:
    first, second = machine.cpus[:2]
    irq = first.map(14)
    first.request(irq, "netvsc")

    def storm(interrupt: Callable[[int], None]) -> None:
        for _ in range(5_000):
            interrupt(14)

    threads = [threading.Thread(target=storm, args=(cpu.interrupt,)) for cpu in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stat = machine.tables.cpu_stat
    assert stat[0].irqs_sum + stat[0].dropped_in_progress == 5_000
    assert stat[1].irqs_sum + stat[1].dropped_in_progress == 5_000
    assert machine.tables.descs[irq].tot_count == sum(counts(machine, irq)) == len(first.ran) + len(second.ran)


def test_interrupts_before_the_first_open_are_replayed_as_one_where_it_is_opened(machine: Machine) -> None:
    host_cpu, opener = machine.cpus[0], machine.cpus[3]
    irq = host_cpu.map(3)
    host_cpu.interrupt(3)
    host_cpu.interrupt(3)
    desc = machine.tables.descs[irq]
    assert desc.istate == IRQS_SYSFS | IRQS_PENDING == 0x4200
    assert counts(machine, irq) == [0, 0, 0, 0]
    assert machine.tables.cpu_stat[0].pended_no_action == 2
    request_irq(opener.core, irq, opener.handler, "kvp")
    assert desc.istate == IRQS_SYSFS | IRQS_REPLAY
    opener.run_tasklet()
    assert counts(machine, irq) == [0, 0, 0, 1]
    assert desc.istate == IRQS_SYSFS
    assert opener.flag.off == 0


def test_a_disabled_irq_keeps_one_interrupt_for_enable(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    disable_irq(cpu.core, irq)
    for _ in range(3):
        cpu.interrupt(7)
    assert counts(machine, irq)[0] == 0
    assert machine.tables.cpu_stat[0].pended_disabled == 3
    enable_irq(cpu.core, irq)
    cpu.run_tasklet()
    assert counts(machine, irq)[0] == 1
    assert machine.tables.cpu_stat[0].replayed == 1


def test_an_open_that_the_host_refuses_leaves_the_replayed_count_but_no_row(machine: Machine) -> None:
    """Request, replay, free: the count stays with the descriptor and shows again at the next open (6.12's rows)."""
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    machine.cpus[3].interrupt(7)
    machine.cpus[3].request(irq, "heartbeat")
    free_irq(cpu.core, irq)
    assert counts(machine, irq) == [0, 0, 0, 1]
    cpu.request(irq, "heartbeat")
    assert counts(machine, irq) == [0, 0, 0, 1]


def test_a_replay_is_forgotten_when_the_irq_is_freed_before_the_tasklet_ran(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.interrupt(7)
    request_irq(cpu.core, irq, cpu.handler, "heartbeat")
    free_irq(cpu.core, irq)
    cpu.run_tasklet()
    assert (counts(machine, irq)[0], machine.tables.cpu_stat[0].replayed) == (0, 0)


def test_free_irq_waits_for_the_handler_on_the_other_cpu(machine: Machine) -> None:
    """No handler runs after free_irq has returned: CPU 1 frees while CPU 0 is about to call the handler."""
    first, second = machine.cpus[:2]
    irq = first.map(7)
    first.request(irq, "heartbeat")
    order: list[str] = []
    in_handler, freeing = threading.Event(), threading.Event()

    def stall() -> None:
        in_handler.set()
        assert freeing.wait(5)
        order.append("handled")

    first.at["irq.flow.in_progress"] = stall
    second.at["relax"] = freeing.set
    thread = threading.Thread(target=first.interrupt, args=(7,))
    thread.start()
    assert in_handler.wait(5)
    free_irq(second.core, irq)
    order.append("freed")
    thread.join()
    assert order == ["handled", "freed"]


def test_a_scan_that_still_holds_a_disposed_irq_runs_the_bad_handler(machine: Machine) -> None:
    """R9: CPU 1 resolved the IRQ; CPU 0 has set the bad handler but not yet cleared the map."""
    first, second = machine.cpus[:2]
    irq = first.map(7)
    first.at["irq.domain.unhandled"] = lambda: second.interrupt(7)
    assert first.domain.dispose_mapping(7) == irq
    assert machine.log == [f"unexpected IRQ trap at vector {irq:02x}"]
    assert machine.tables.cpu_stat[1].bad == machine.tables.cpu_stat[1].irqs_sum == counts(machine, irq)[1] == 1


def test_a_number_is_not_reused_while_a_cpu_may_hold_it(machine: Machine) -> None:
    cpu, late = machine.cpus[:2]
    irq = cpu.map(7)
    resolved = late.domain.resolve(7)
    cpu.domain.dispose_mapping(7)
    assert cpu.map(8) == irq + 1
    late.core.generic_handle_irq_desc(resolved)
    assert machine.tables.cpu_stat[1].bad == 1
    free_desc(cpu.core, irq)
    assert cpu.map(9) == irq


def test_the_demultiplexer_counts_only_what_its_handler_claimed(machine: Machine) -> None:
    """RFC patch 6: a top-level interrupt that brought channel bits alone is counted on the channels only."""
    cpu = machine.cpus[2]
    calls: list[str] = []
    claims = [True, False, True]

    def note(text: str) -> Callable[[IrqDesc], None]:
        return lambda desc: calls.append(f"{text} {desc.irq}")

    chip = cpu.core.register_chip(IrqChip("GICv3", ack=note("ack"), eoi=note("eoi")))
    handler = cpu.core.register_handler(lambda irq, dev_id: claims.pop(0))
    irq = alloc_desc(cpu.core, at=18)
    assert irq == 18
    set_chip_and_handler(cpu.core, irq, chip, Flow.PERCPU_DEMUX)
    request_irq(cpu.core, irq, handler, "Hyper-V VMbus")
    for _ in range(3):
        cpu.core.generic_handle_irq_desc(irq)
    assert calls == ["ack 18", "eoi 18"] * 3
    assert counts(machine, irq) == [0, 0, 2, 0]
    assert machine.tables.cpu_stat[2].irqs_sum == 2
    assert machine.tables.descs[irq].tot_count == 0


def test_every_run_of_the_flow_handler_is_in_exactly_one_counter(machine: Machine) -> None:
    """The equation of the report: bits resolved + replays = handled + dropped + kept."""
    cpu, other = machine.cpus[:2]
    irq = cpu.map(7)
    bits = 0
    for step in range(12):
        if step == 3:
            cpu.request(irq, "heartbeat")
        if step == 6:
            cpu.at["irq.flow.in_progress"] = lambda: other.interrupt(7)
            bits += 1
        if step == 8:
            disable_irq(cpu.core, irq)
        if step == 10:
            enable_irq(cpu.core, irq)
            cpu.run_tasklet()
        cpu.interrupt(7)
        bits += 1
    stats = machine.tables.cpu_stat
    runs = sum(s.irqs_sum + s.dropped_in_progress + s.pended_no_action + s.pended_disabled for s in stats)
    assert runs == bits + sum(s.replayed for s in stats)
    assert [stats[0].pended_no_action, stats[0].pended_disabled, stats[1].dropped_in_progress] == [3, 2, 1]
    assert not machine.tables.descs[irq].dstate & IRQD_IRQ_DISABLED
