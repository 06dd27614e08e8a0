"""Handing out IRQ numbers (``__irq_alloc_descs``, ``free_desc``; kernel/irq/irqdesc.c)."""

from __future__ import annotations

from guest.irq.chip import NO_IRQ_CHIP
from guest.irq.core import IrqCore
from guest.irq.desc import NR_IRQS, IrqDesc, Life
from guest.irq.flags import IRQD_IRQ_DISABLED, IRQD_IRQ_MASKED, IRQS_SYSFS
from guest.irq.flow import Flow
from protocol.ids import Irq

X86_DYNIRQ_BASE = 24
"""The first number above the pins of the usual single IO-APIC (``arch_dynirq_lower_bound``, io_apic.c)."""


def alloc_desc(core: IrqCore, *, at: int | None = None, above: int = X86_DYNIRQ_BASE) -> Irq | None:
    """Take the lowest free number from ``above`` on, or exactly ``at`` (a legacy interrupt). None if taken.

    Raises nr_irqs when the number reaches it, which can widen the whole of /proc/interrupts.
    """
    tables = core.tables
    candidates = range(above, NR_IRQS) if at is None else range(at, at + 1)
    with core.sparse_irq_lock:
        irq = next((Irq(i) for i in candidates if tables.descs[i].life == Life.FREE), None)
        if irq is None:
            return None
        _set_defaults(core, irq, tables.descs[irq])
        tables.shared.nr_irqs = max(tables.shared.nr_irqs, irq + 1)
        # Last, so that a reader of /proc never sees a number with its former owner's contents.
        tables.descs[irq].life = Life.LIVE
    return irq


def _set_defaults(core: IrqCore, irq: Irq, desc: IrqDesc) -> None:
    """``desc_set_defaults``: disabled and masked, no chip, default affinity, counts from zero."""
    core.tables.words[desc.base : desc.base + desc.size] = memoryview(bytes(8 * desc.size)).cast("Q")
    desc.irq = irq
    desc.istate = IRQS_SYSFS
    desc.dstate = IRQD_IRQ_DISABLED | IRQD_IRQ_MASKED
    desc.depth = 1
    desc.affinity = core.tables.shared.default_affinity
    desc.chip_name = NO_IRQ_CHIP.name
    for column in core.tables.kstat:
        column.counts[irq] = 0


def set_chip_and_handler(core: IrqCore, irq: Irq, chip: int, flow: Flow, name: str = "") -> None:
    """``irq_set_chip_and_handler_name()``. ``name`` is printed after the hwirq (``edge``); VMBus gives none."""
    desc = core.desc(irq)
    with core.desc_lock(irq):
        desc.chip = chip
        desc.chip_name = core.chips[chip].name
        desc.flow = flow
        desc.flow_name = name
        if flow is Flow.BAD:
            desc.dstate |= IRQD_IRQ_DISABLED
            desc.depth = 1


def free_desc(core: IrqCore, irq: Irq) -> None:
    """Make a disposed number reusable. Call it when no CPU can still hold the IRQ: where Linux's RCU would free it."""
    with core.sparse_irq_lock:
        core.tables.descs[irq].life = Life.FREE
