"""request_irq, free_irq, disable_irq, enable_irq (kernel/irq/manage.c), in process context."""

from __future__ import annotations

import errno

from guest.irq.chip import NO_IRQ_CHIP
from guest.irq.core import IrqCore
from guest.irq.flags import (
    IRQ_NOREQUEST,
    IRQD_ACTIVATED,
    IRQD_IRQ_DISABLED,
    IRQD_IRQ_INPROGRESS,
    IRQF_COND_ONESHOT,
    IRQS_WAITING,
)
from guest.irq.startup import irq_shutdown, irq_startup
from protocol.ids import Irq


def request_irq(core: IrqCore, irq: Irq, handler: int, name: str, dev_id: int = 0, flags: int = 0) -> None:
    """Install the action (a registered handler's number) and start the IRQ.

    /proc/irq/N appears with the first request, and in it a directory with the name that the action has now. An
    interrupt that came before is replayed once. Actions are not shared, so a second request finds EBUSY and leaves the
    core's message in the log. Raises ``OSError``: EINVAL (no such IRQ), ENOSYS (no chip), EBUSY.
    """
    desc = core.desc(irq)
    if desc.status & IRQ_NOREQUEST or not handler:
        raise OSError(errno.EINVAL, f"IRQ {irq} cannot be requested")
    flags |= IRQF_COND_ONESHOT
    if core.point:
        core.point("irq.request.entered")
    with core.desc_lock(irq):
        if core.chips[desc.chip] is NO_IRQ_CHIP:
            raise OSError(errno.ENOSYS, f"IRQ {irq} has no chip")
        taken = desc.action != 0
        if not taken:
            desc.dstate = desc.dstate & ~IRQD_IRQ_INPROGRESS | IRQD_ACTIVATED
            desc.istate &= ~IRQS_WAITING
            desc.dev_id = dev_id
            desc.action_flags = flags
            desc.action_name = desc.proc_name = name
            desc.action = handler
            irq_startup(core, desc)
    if taken:
        owner, theirs = desc.action_name, desc.action_flags
        core.log(f"genirq: Flags mismatch irq {irq}. {flags:08x} ({name}) vs. {theirs:08x} ({owner})")
        raise OSError(errno.EBUSY, f"IRQ {irq} is requested already, by {owner}")
    if not name:
        core.log("name len 0")
    with core.sparse_irq_lock:
        desc.in_proc = 1


def free_irq(core: IrqCore, irq: Irq) -> None:
    """Remove the action, stop the IRQ, and wait until no CPU runs the handler.

    The mapping, /proc/irq/N, the counts, a user's affinity mask and a PENDING interrupt stay. The wait is for another
    CPU's hard interrupt handler: never call this holding a lock that the handler takes.
    """
    desc = core.desc(irq)
    if core.point:
        core.point("irq.free.entered")
    with core.desc_lock(irq):
        freed = desc.action != 0
        if freed:
            desc.action = 0
            irq_shutdown(core, desc)
        if desc.affinity_hint:
            core.log(f"IRQ {irq} is freed with its affinity hint still set")
            desc.affinity_hint = 0
    if not freed:
        core.log(f"Trying to free already-free IRQ {irq}")
        return
    synchronize_irq(core, irq)
    with core.desc_lock(irq):
        desc.dstate &= ~IRQD_ACTIVATED
        desc.action_name = desc.proc_name = ""


def synchronize_irq(core: IrqCore, irq: Irq) -> None:
    """Wait until the IRQ is IN PROGRESS nowhere."""
    desc = core.desc(irq)
    while desc.dstate & IRQD_IRQ_INPROGRESS:
        core.relax()
    # A handler that was seen finished has dropped the lock; taking it orders what it wrote before what we do next.
    with core.desc_lock(irq):
        pass


def disable_irq_nosync(core: IrqCore, irq: Irq) -> None:
    """Count one more reason to be disabled. Lazy: the chip is not told, interrupts that still come become PENDING."""
    desc = core.desc(irq)
    with core.desc_lock(irq):
        desc.depth += 1
        desc.dstate |= IRQD_IRQ_DISABLED


def disable_irq(core: IrqCore, irq: Irq) -> None:
    """Disable, and wait until no CPU runs the handler."""
    disable_irq_nosync(core, irq)
    synchronize_irq(core, irq)


def enable_irq(core: IrqCore, irq: Irq) -> None:
    """Take one reason away; with the last, start the IRQ and replay (once) what it missed."""
    desc = core.desc(irq)
    with core.desc_lock(irq):
        depth = desc.depth
        if depth == 1:
            irq_startup(core, desc)
        elif depth:
            desc.depth = depth - 1
    if not depth:
        core.log(f"Unbalanced enable for IRQ {irq}")
