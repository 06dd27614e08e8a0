"""Moving IRQs off a CPU that goes offline (kernel/irq/cpuhotplug.c)."""

from __future__ import annotations

from guest.irq.affinity import can_set_affinity, do_set_affinity
from guest.irq.core import IrqCore
from guest.irq.flags import IRQD_IRQ_STARTED


def irq_migrate_all_off_this_cpu(core: IrqCore) -> None:
    """On the dying CPU, interrupts off, when it has left the online mask already.

    A mask without an online CPU is replaced by all online CPUs. For VMBus IRQs this comes too late: the CPU's SynIC is
    off by now. Its teardown refuses a CPU that any channel interrupts, so nothing of the VMBus is left to move.
    """
    gone, online = 1 << core.cpu, core.online()
    for irq, desc in core.tables.live():
        if not (desc.dstate & IRQD_IRQ_STARTED and desc.effective_affinity & gone and can_set_affinity(core, desc)):
            continue
        with core.desc_lock(irq):
            try:
                do_set_affinity(core, desc, desc.affinity if desc.affinity & online else online)
            except OSError as error:
                core.log(f"IRQ{irq}: set affinity failed(-{error.errno}).")
