"""One CPU's view of the IRQ core: the shared tables, and the functions that the numbers in them stand for.

Chips and action handlers are registered by every CPU in the same order at start-up, before interrupts are taken; their
numbers are what descriptors hold. Flow handlers are fixed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from guest.irq.chip import NO_IRQ_CHIP, Handler, IrqChip, no_action
from guest.irq.desc import NR_IRQS, IrqDesc, IrqTables, Life
from guest.irq.flags import MIRRORED
from guest.irq.flow import Flow, FlowHandler, Point, bad_irq, percpu_demux_irq, simple_irq
from guest.kernel.locks import Interrupts, IrqSpinLock, Locks
from protocol.ids import Cpu, Irq


class IrqCore:
    """What ``kernel/irq`` keeps, seen from one CPU.

    ``online`` reads cpu_online_mask. ``schedule_resend`` schedules the resend tasklet on this CPU, whose function is
    :func:`guest.irq.startup.resend_irqs`. ``relax`` is ``cpu_relax()``: called while another CPU's handler is waited
    for. ``log`` is printk. ``point``: preemption points, None in processes.
    """

    def __init__(
        self,
        tables: IrqTables,
        cpu: Cpu,
        locks: Locks,
        interrupts: Interrupts,
        *,
        online: Callable[[], int],
        schedule_resend: Callable[[], None],
        relax: Callable[[], None],
        log: Callable[[str], None],
        point: Point = None,
    ) -> None:
        self.tables = tables
        self.cpu = cpu
        self.interrupts = interrupts
        self.online = online
        self.schedule_resend = schedule_resend
        self.relax = relax
        self.log = log
        self.point = point
        self.sparse_irq_lock = locks.spin("sparse_irq_lock")
        self.irq_domain_mutex = locks.spin("irq_domain_mutex")
        self.chips: list[IrqChip] = [NO_IRQ_CHIP]
        self.handlers: list[Handler] = [no_action]
        self.resend_list: list[Irq] = []
        self.domains = 0
        self._desc_locks = [locks.irqsave("desc", way) for way in range(Locks.WAYS)]
        hard = [locks.raw("desc", way) for way in range(Locks.WAYS)]
        self.flows: dict[int, FlowHandler] = {
            Flow.BAD: bad_irq(tables, cpu, hard, log),
            Flow.SIMPLE: simple_irq(tables, cpu, hard, self.handlers, point),
            Flow.PERCPU_DEMUX: percpu_demux_irq(tables, cpu, self.chips, self.handlers),
        }
        self.generic_handle_irq_desc = self._dispatcher()

    def _dispatcher(self) -> FlowHandler:
        words, flows = self.tables.words, [self.flows[flow] for flow in sorted(self.flows)]
        first, size = self.tables.descs[0].base + IrqDesc.flow.offset, IrqDesc.size

        def generic_handle_irq_desc(irq: Irq) -> None:
            """Run the IRQ's flow handler. Hard interrupt context; ``irq`` was resolved on this CPU just now."""
            flows[words[first + irq * size]](irq)

        return generic_handle_irq_desc

    def register_chip(self, chip: IrqChip) -> int:
        """The chip's number, for :meth:`set_chip_and_handler` and domains."""
        self.chips.append(chip)
        return len(self.chips) - 1

    def register_handler(self, handler: Handler) -> int:
        """The action handler's number, for ``request_irq``."""
        self.handlers.append(handler)
        return len(self.handlers) - 1

    def desc_lock(self, irq: Irq) -> IrqSpinLock:
        """desc->lock for process context. Hashed: two of them are never held at once."""
        return self._desc_locks[irq % Locks.WAYS]

    def desc(self, irq: Irq) -> IrqDesc:
        """``irq_to_desc()``. Raises EINVAL where its callers do, when there is no such IRQ."""
        if not 0 <= irq < NR_IRQS or self.tables.descs[irq].life != Life.LIVE:
            raise OSError(errno.EINVAL, f"there is no IRQ {irq}")
        return self.tables.descs[irq]

    def set_handler_data(self, irq: Irq, data: int) -> None:
        """``irq_set_handler_data()``: what the chip and the scan find with the descriptor (VMBus: the channel)."""
        desc = self.desc(irq)
        with self.desc_lock(irq):
            desc.handler_data = data

    def modify_status(self, irq: Irq, *, clear: int = 0, set: int = 0) -> None:
        """``irq_modify_status()``: change ``IRQ_*`` settings and the ``IRQD_*`` bits that mirror them."""
        desc = self.desc(irq)
        with self.desc_lock(irq):
            status = desc.status & ~clear | set
            dstate = desc.dstate
            for setting, state in MIRRORED:
                dstate = dstate | state if status & setting else dstate & ~state
            desc.status = status
            desc.dstate = dstate
