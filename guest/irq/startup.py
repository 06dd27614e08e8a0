"""Starting and stopping an IRQ, and replaying what it missed (kernel/irq/chip.c irq_startup, resend.c).

All but :func:`resend_irqs` run under desc->lock.
"""

from __future__ import annotations

from guest.irq.affinity import setup_affinity
from guest.irq.core import IrqCore
from guest.irq.desc import IrqDesc
from guest.irq.flags import (
    IRQ_LEVEL,
    IRQD_IRQ_DISABLED,
    IRQD_IRQ_MASKED,
    IRQD_IRQ_STARTED,
    IRQS_PENDING,
    IRQS_REPLAY,
)
from protocol.ids import Irq


def irq_startup(core: IrqCore, desc: IrqDesc) -> None:
    """Enable, unmask and (the first time) place the IRQ, then have a missed interrupt replayed."""
    desc.depth = 0
    desc.dstate &= ~IRQD_IRQ_DISABLED
    unmask_irq(core, desc)
    if not desc.dstate & IRQD_IRQ_STARTED:
        desc.dstate |= IRQD_IRQ_STARTED
        setup_affinity(core, desc)
    check_irq_resend(core, desc)


def irq_shutdown(core: IrqCore, desc: IrqDesc) -> None:
    """Disable and mask; an interrupt that was waiting for its replay is forgotten."""
    if desc.dstate & IRQD_IRQ_STARTED:
        desc.resend = 0
        desc.depth = 1
        desc.dstate = desc.dstate & ~IRQD_IRQ_STARTED | IRQD_IRQ_DISABLED
        mask_irq(core, desc)


def mask_irq(core: IrqCore, desc: IrqDesc) -> None:
    """Mask at the chip, if it can; a chip that cannot leaves the flag alone too."""
    mask = core.chips[desc.chip].mask
    if mask and not desc.dstate & IRQD_IRQ_MASKED:
        mask(desc)
        desc.dstate |= IRQD_IRQ_MASKED


def unmask_irq(core: IrqCore, desc: IrqDesc) -> None:
    """Unmask at the chip, if it can."""
    unmask = core.chips[desc.chip].unmask
    if unmask and desc.dstate & IRQD_IRQ_MASKED:
        unmask(desc)
        desc.dstate &= ~IRQD_IRQ_MASKED


def check_irq_resend(core: IrqCore, desc: IrqDesc) -> None:
    """If an interrupt is PENDING, put the IRQ on this CPU's list and schedule the resend tasklet here.

    Any number of missed interrupts is replayed once, and is counted in the column of this CPU. Linux has one list for
    all CPUs but runs its tasklet where it was scheduled.
    """
    if desc.status & IRQ_LEVEL:
        desc.istate &= ~IRQS_PENDING
    elif desc.istate & (IRQS_PENDING | IRQS_REPLAY) == IRQS_PENDING:
        desc.istate = desc.istate & ~IRQS_PENDING | IRQS_REPLAY
        desc.resend = 1
        core.resend_list.append(Irq(desc.irq))
        core.schedule_resend()


def resend_irqs(core: IrqCore) -> None:
    """The resend tasklet: run the flow handler, interrupts off, of each IRQ on this CPU's list that is still due."""
    while core.resend_list:
        irq = core.resend_list.pop(0)
        with core.desc_lock(irq):
            due = core.tables.descs[irq].resend
            core.tables.descs[irq].resend = 0
            core.tables.descs[irq].replayed += due
        if due:
            if core.point:
                core.point("irq.resend.due")
            core.interrupts.disable()
            core.tables.cpu_stat[core.cpu].replayed += 1
            core.generic_handle_irq_desc(irq)
            core.interrupts.enable()
