"""Where an IRQ is delivered (kernel/irq/manage.c). Masks are words, bit n is CPU n."""

from __future__ import annotations

import errno

from guest.irq.core import IrqCore
from guest.irq.desc import IrqDesc
from guest.irq.flags import IRQD_AFFINITY_SET, IRQD_NO_BALANCING, IRQD_PER_CPU
from protocol.ids import Irq


def can_set_affinity(core: IrqCore, desc: IrqDesc) -> bool:
    """``irq_can_set_affinity_usr()``: not per-CPU, not excluded from balancing, and the chip can."""
    pinned = desc.dstate & (IRQD_NO_BALANCING | IRQD_PER_CPU)
    return not pinned and core.chips[desc.chip].set_affinity is not None


def irq_set_affinity(core: IrqCore, irq: Irq, mask: int) -> None:
    """Move the IRQ to a CPU of ``mask``, under desc->lock with interrupts off.

    Raises ``OSError``: EINVAL for an unknown IRQ, a chip that cannot, or a mask without an online CPU; else what the
    chip raises. "The affinity was set" is noted whether or not it was, as Linux does. Moves that wait for the next
    interrupt (no IRQ_MOVE_PCNTXT) are not modelled.
    """
    desc = core.desc(irq)
    if core.point:
        core.point("irq.affinity.entered")
    with core.desc_lock(irq):
        if core.chips[desc.chip].set_affinity is None:
            raise OSError(errno.EINVAL, f"the chip of IRQ {irq} cannot set its affinity")
        try:
            do_set_affinity(core, desc, mask)
        finally:
            desc.dstate |= IRQD_AFFINITY_SET


def irq_set_affinity_and_hint(core: IrqCore, irq: Irq, mask: int) -> None:
    """Store the hint and try to move there. Whether the move worked is ignored, as in Linux; EINVAL: no such IRQ."""
    irq_update_affinity_hint(core, irq, mask)
    try:
        irq_set_affinity(core, irq, mask)
    except OSError:
        return


def irq_update_affinity_hint(core: IrqCore, irq: Irq, mask: int) -> None:
    """Store the hint alone; 0 clears it (a driver must, before it frees the IRQ)."""
    desc = core.desc(irq)
    with core.desc_lock(irq):
        desc.affinity_hint = mask


def setup_affinity(core: IrqCore, desc: IrqDesc) -> None:
    """``irq_setup_affinity()``, at the first start of an IRQ, under desc->lock.

    A mask that somebody set before is kept if one of its CPUs is online, else the default affinity applies. Whether
    the chip agrees is ignored, as Linux does.
    """
    if not can_set_affinity(core, desc):
        return
    online = core.online()
    wanted = core.tables.shared.default_affinity
    if desc.dstate & IRQD_AFFINITY_SET:
        if desc.affinity & online:
            wanted = desc.affinity
        else:
            desc.dstate &= ~IRQD_AFFINITY_SET
    try:
        do_set_affinity(core, desc, wanted & online or online)
    except OSError:
        return


def do_set_affinity(core: IrqCore, desc: IrqDesc, mask: int) -> None:
    """``irqdo_set_affinity()``: the chip sees the online part; on success the asked-for mask is kept whole."""
    set_affinity = core.chips[desc.chip].set_affinity
    online = mask & core.online()
    if set_affinity is None or not online:
        raise OSError(errno.EINVAL, f"no CPU of mask {mask:x} is online")
    desc.effective_affinity = set_affinity(desc, online)
    desc.affinity = mask
