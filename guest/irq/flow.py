"""Flow handlers: what happens between "this IRQ fired" and its action (kernel/irq/chip.c, handle.c).

They run in hard interrupt context, interrupts off, on the CPU that took the interrupt, and are called once per
interrupt; so they are closures over that CPU's view, and the descriptor is read by word offset. Entropy and spurious
accounting are left out: the first has no consumer here, the second never trips for handlers that always claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TypeAlias

from guest.irq.chip import Handler, IrqChip
from guest.irq.desc import IrqCpuStat, IrqDesc, IrqTables, KstatIrqs
from guest.irq.flags import (
    IRQD_IRQ_DISABLED,
    IRQD_IRQ_INPROGRESS,
    IRQS_PENDING,
    IRQS_REPLAY,
    IRQS_WAITING,
)
from guest.kernel.locks import RawLock
from protocol.ids import Cpu, Irq

FlowHandler: TypeAlias = Callable[[Irq], None]
Point: TypeAlias = Callable[[str], None] | None
"""Preemption points: called by name in the simulation, None in processes."""


class Flow(IntEnum):
    """The number of a flow handler in a descriptor."""

    BAD = 0
    SIMPLE = 1
    PERCPU_DEMUX = 2

    @property
    def symbol(self) -> str:
        """The kernel's function name, as debugfs prints it."""
        return f"handle_{self.name.lower()}_irq"


def simple_irq(
    tables: IrqTables,
    cpu: Cpu,
    locks: Sequence[RawLock],
    handlers: Sequence[Handler],
    point: Point,
) -> FlowHandler:
    """Build ``handle_simple_irq`` for one CPU; ``locks`` are the desc->lock family, hashed by IRQ."""
    words, p = tables.words, point
    ways = len(locks)
    first, size = tables.descs[0].base, IrqDesc.size
    ISTATE, DSTATE, TOT = IrqDesc.istate.offset, IrqDesc.dstate.offset, IrqDesc.tot_count.offset
    ACTION, DEV_ID = IrqDesc.action.offset, IrqDesc.dev_id.offset
    column = tables.kstat[cpu].base + KstatIrqs.counts.offset
    own = tables.cpu_stat[cpu].base
    SUM, IN_PROGRESS = own + IrqCpuStat.irqs_sum.offset, own + IrqCpuStat.dropped_in_progress.offset
    NO_ACTION, DISABLED = own + IrqCpuStat.pended_no_action.offset, own + IrqCpuStat.pended_disabled.offset
    DROPPED, PENDED = IrqDesc.dropped_in_progress.offset, IrqDesc.pended.offset

    STALE = IRQS_REPLAY | IRQS_WAITING | IRQS_PENDING

    def handle_simple_irq(irq: Irq) -> None:
        """Count and run the action.

        In progress on another CPU: the interrupt is dropped, neither counted nor kept. No action, or disabled: it is
        kept as PENDING, uncounted, and replayed once by whoever starts the IRQ.
        """
        desc = first + irq * size
        lock = locks[irq % ways]
        if p:
            p("irq.flow.entered")
        lock.acquire()
        try:
            dstate = words[desc + DSTATE]
            if dstate & IRQD_IRQ_INPROGRESS:
                words[IN_PROGRESS] += 1
                words[desc + DROPPED] += 1
                return
            action = words[desc + ACTION]
            istate = words[desc + ISTATE]
            if not action or dstate & IRQD_IRQ_DISABLED:
                words[desc + ISTATE] = istate & ~(IRQS_REPLAY | IRQS_WAITING) | IRQS_PENDING
                words[DISABLED if action else NO_ACTION] += 1
                words[desc + PENDED] += 1
                return
            words[column + irq] += 1
            words[SUM] += 1
            words[desc + TOT] += 1
            if istate & STALE:
                words[desc + ISTATE] = istate & ~STALE
            words[desc + DSTATE] = dstate | IRQD_IRQ_INPROGRESS
            dev_id = words[desc + DEV_ID]
        finally:
            lock.release()
        if p:
            p("irq.flow.in_progress")
        handlers[action](irq, dev_id)
        if p:
            p("irq.flow.handled")
        lock.acquire()
        words[desc + DSTATE] &= ~IRQD_IRQ_INPROGRESS
        lock.release()

    return handle_simple_irq


def percpu_demux_irq(
    tables: IrqTables,
    cpu: Cpu,
    chips: Sequence[IrqChip],
    handlers: Sequence[Handler],
) -> FlowHandler:
    """Build ``handle_percpu_demux_irq`` (RFC patch 6) for one CPU: the arm64 top-level VMBus interrupt.

    No lock, since only this CPU takes its per-CPU interrupt. The count is conditional, so that an interrupt which only
    carried channel bits is counted once, on the channels' rows. ``tot_count`` is not kept, as for every per-CPU flow.
    """
    words, descs = tables.words, tables.descs
    column = tables.kstat[cpu].base + KstatIrqs.counts.offset
    SUM = tables.cpu_stat[cpu].base + IrqCpuStat.irqs_sum.offset

    def handle_percpu_demux_irq(irq: Irq) -> None:
        desc = descs[irq]
        chip = chips[desc.chip]
        if chip.ack:
            chip.ack(desc)
        if handlers[desc.action](irq, desc.dev_id):
            words[column + irq] += 1
            words[SUM] += 1
        if chip.eoi:
            chip.eoi(desc)

    return handle_percpu_demux_irq


def bad_irq(tables: IrqTables, cpu: Cpu, locks: Sequence[RawLock], log: Callable[[str], None]) -> FlowHandler:
    """Build ``handle_bad_irq``: a descriptor whose mapping is being disposed of was still held by this CPU's scan.

    Counted and logged, as Linux does; on x86 it would also write an APIC EOI too many, which has no effect here.
    Takes desc->lock for ``tot_count``, which Linux increments without.
    """
    stat, counts = tables.cpu_stat[cpu], tables.kstat[cpu].counts

    def handle_bad_irq(irq: Irq) -> None:
        lock = locks[irq % len(locks)]
        lock.acquire()
        tables.descs[irq].tot_count += 1
        tables.descs[irq].bad += 1
        lock.release()
        counts[irq] += 1
        stat.irqs_sum += 1
        stat.bad += 1
        log(f"unexpected IRQ trap at vector {irq:02x}")

    return handle_bad_irq
