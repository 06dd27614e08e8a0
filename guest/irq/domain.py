"""A linear IRQ domain: hwirq -> IRQ in kernel memory (kernel/irq/irqdomain.c)."""

from __future__ import annotations

from guest.irq.alloc import X86_DYNIRQ_BASE, alloc_desc, set_chip_and_handler
from guest.irq.core import IrqCore
from guest.irq.desc import Life
from guest.irq.flags import IRQ_NOREQUEST
from guest.irq.flow import Flow
from guest.kernel.memory import Array, KernelMemory, Struct
from protocol.ids import Irq

DOMAIN_SIZE = 2048


class LinearRevmap(Struct):
    """``irq_domain.revmap``: the IRQ of each hwirq, 0 for none."""

    irqs = Array(DOMAIN_SIZE, "irq_domain_mutex")


class IrqDomain:
    """One controller's interrupts. Domains are created by every CPU in the same order.

    Mapping an hwirq installs the domain's chip and flow handler without a flow name (RFC patch 7). ``dynirq_base`` is
    24 on x86; 0 is arm64's rule, where the search starts at hwirq mod nr_irqs.
    """

    def __init__(
        self,
        core: IrqCore,
        memory: KernelMemory,
        name: str,
        chip: int,
        flow: Flow = Flow.SIMPLE,
        dynirq_base: int = X86_DYNIRQ_BASE,
    ) -> None:
        core.domains += 1
        self.name = name
        self.revmap = memory.one(LinearRevmap).irqs
        """For scans: ``revmap[hwirq]`` is :meth:`resolve` without the call."""
        self._core = core
        self._index = core.domains
        self._chip = chip
        self._flow = flow
        self._dynirq_base = dynirq_base

    def resolve(self, hwirq: int) -> Irq:
        """``irq_resolve_mapping()``: one load; 0 when the hwirq is not mapped or not the domain's."""
        return Irq(self.revmap[hwirq]) if hwirq < DOMAIN_SIZE else Irq(0)

    @property
    def mapped(self) -> int:
        """How many hwirqs are mapped (debugfs prints it)."""
        return sum(1 for irq in self.revmap if irq)

    def create_mapping(self, hwirq: int) -> Irq:
        """``irq_create_mapping()``: the existing IRQ if there is one, else a new one; 0 is failure.

        Fails when the hwirq is out of range or no number is free.
        """
        if not 0 <= hwirq < DOMAIN_SIZE:
            return Irq(0)
        core = self._core
        with core.irq_domain_mutex:
            if self.revmap[hwirq]:
                return Irq(self.revmap[hwirq])
            irq = alloc_desc(core, above=self._dynirq_base or hwirq % core.tables.shared.nr_irqs or 1)
            if irq is None and not self._dynirq_base:
                irq = alloc_desc(core, above=1)
            if irq is None:
                return Irq(0)
            desc = core.tables.descs[irq]
            desc.hwirq = hwirq
            desc.domain = self._index
            set_chip_and_handler(core, irq, self._chip, self._flow)
            self.revmap[hwirq] = irq
        return irq

    def dispose_mapping(self, hwirq: int) -> Irq:
        """``irq_dispose_mapping()`` up to the point where Linux waits for RCU; returns the IRQ, 0 if there was none.

        The IRQ's action must have been freed, so no handler runs. Its number stays taken until
        :func:`guest.irq.alloc.free_desc`, which the caller owes once no CPU can still be between its look at the map
        and the flow handler. As in Linux the flow handler becomes the "bad IRQ" one *before* the map entry goes, so
        such a CPU may run it.
        """
        core = self._core
        with core.irq_domain_mutex:
            irq = self.resolve(hwirq)
            if not irq:
                return irq
            core.modify_status(irq, set=IRQ_NOREQUEST)
            set_chip_and_handler(core, irq, 0, Flow.BAD)
            if core.point:
                core.point("irq.domain.unhandled")
            desc = core.tables.descs[irq]
            desc.domain = 0
            desc.hwirq = 0
            self.revmap[hwirq] = 0
        with core.desc_lock(irq):
            desc.resend = 0
        with core.sparse_irq_lock:
            desc.in_proc = 0
            desc.life = Life.DYING
        return irq
