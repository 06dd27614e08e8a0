"""Interrupt descriptors and counters in kernel memory (``struct irq_desc``, ``kstat_irqs``, ``irq_cpustat_t``).

Everything that /proc and /sys print is in these tables, names included, so that a process which only maps the memory
can render them. Callables are not: a chip, a flow handler and an action are numbers here, and each CPU turns them into
its own functions (:mod:`guest.irq.core`).

Up to 64 CPUs: a CPU mask is one word.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from guest.kernel.memory import Array, KernelMemory, Struct, Table, Text, Word
from protocol.ids import Irq

NR_IRQS = 2048 + 32
"""Descriptors there is room for: a full linear domain and the IRQs below the first dynamic one."""

MAX_CPUS = 64
COUNT_MASK = 0xFFFFFFFF
"""Per-IRQ counts are ``unsigned int`` in Linux and wrap; here they are cut when they are printed."""


class Life(IntEnum):
    """Whether a number is taken. DYING: invisible and not reusable until no CPU can hold it any more (RCU)."""

    FREE = 0
    LIVE = 1
    DYING = 2


class IrqDesc(Struct):
    """``struct irq_desc`` with its ``irq_data`` and its single ``irqaction`` (IRQF_SHARED is not modelled)."""

    irq = Word("sparse_irq_lock")
    life = Word("sparse_irq_lock")
    in_proc = Word("sparse_irq_lock")  # /proc/irq/N exists: from the first request_irq until the number is given up
    status = Word("desc->lock")
    istate = Word("desc->lock")
    dstate = Word("desc->lock")
    depth = Word("desc->lock")  # nested disables
    tot_count = Word("desc->lock")
    hwirq = Word("irq_domain_mutex")
    domain = Word("irq_domain_mutex")  # 0: none
    chip = Word("desc->lock")
    flow = Word("desc->lock")
    handler_data = Word("desc->lock")
    action = Word("desc->lock")  # 0: not requested
    action_flags = Word("desc->lock")
    dev_id = Word("desc->lock")
    dropped_in_progress = Word("desc->lock")  # what became of interrupts that are not counted, as in IrqCpuStat
    pended = Word("desc->lock")
    replayed = Word("desc->lock")
    bad = Word("desc->lock")
    resend = Word("desc->lock")  # 1: on some CPU's list for a software replay
    affinity = Word("desc->lock")
    effective_affinity = Word("desc->lock")
    affinity_hint = Word("desc->lock")
    chip_name = Text(16, "desc->lock")
    flow_name = Text(16, "desc->lock")  # "edge", "fasteoi"; empty for IRQs whose handler was set without a name
    action_name = Text(32, "desc->lock; the action's owner may rewrite it, as Linux keeps a pointer to the name")
    proc_name = Text(32, "desc->lock")  # /proc/irq/N/<name>, made once at request time


class KstatIrqs(Struct):
    """One CPU's column of /proc/interrupts. The allocator zeroes an entry before it hands the number out."""

    counts = Array(NR_IRQS, "this CPU")


class IrqCpuStat(Struct):
    """What became of every flow-handler run on one CPU.

    runs = irqs_sum (those of non-demultiplexers) + dropped_in_progress + pended_no_action + pended_disabled, and
    runs = bits cleared and resolved by the scan + replayed.
    """

    irqs_sum = Word("this CPU")
    bad = Word("this CPU")  # part of irqs_sum: taken on a descriptor that was just given up
    dropped_in_progress = Word("this CPU")
    pended_no_action = Word("this CPU")
    pended_disabled = Word("this CPU")
    replayed = Word("this CPU")


class ArchIrqStat(Struct):
    """One CPU's x86 counters below the numbered rows (``irq_cpustat_t``, machine checks), named as printed."""

    nmi = Word("this CPU")
    loc = Word("this CPU")
    spu = Word("this CPU")
    pmi = Word("this CPU")
    iwi = Word("this CPU")
    rtr = Word("this CPU")
    plt = Word("this CPU")
    res = Word("this CPU")
    cal = Word("this CPU")
    tlb = Word("this CPU")
    trm = Word("this CPU")
    thr = Word("this CPU")
    dfr = Word("this CPU")
    mce = Word("this CPU")
    mcp = Word("this CPU")
    hyp = Word("this CPU")
    hre = Word("this CPU")
    hvs = Word("this CPU")
    pin = Word("this CPU")
    npi = Word("this CPU")
    piw = Word("this CPU")
    pmn = Word("this CPU")


class IrqGlobal(Struct):
    """Variables of the IRQ core that belong to no descriptor."""

    nr_irqs = Word("sparse_irq_lock")
    default_affinity = Word("whoever writes default_smp_affinity")
    err = Word("boot CPU")  # irq_err_count
    mis = Word("boot CPU")  # irq_mis_count


class IrqTables:
    """The IRQ core's tables: placed alike by every CPU, found by name by readers that have no CPU."""

    def __init__(
        self,
        words: memoryview,
        shared: IrqGlobal,
        descs: Table[IrqDesc],
        kstat: Table[KstatIrqs],
        cpu_stat: Table[IrqCpuStat],
        arch_stat: Table[ArchIrqStat],
    ) -> None:
        self.words = words
        self.shared = shared
        self.descs = descs
        self.kstat = kstat
        self.cpu_stat = cpu_stat
        self.arch_stat = arch_stat
        self.nr_cpu_ids = len(kstat)

    @classmethod
    def place(cls, memory: KernelMemory, nr_cpu_ids: int) -> IrqTables:
        """Place the tables for 1 to 64 possible CPUs."""
        if not 1 <= nr_cpu_ids <= MAX_CPUS:
            raise ValueError(f"1 to {MAX_CPUS} CPUs, not {nr_cpu_ids}")
        return cls(
            memory.words,
            memory.one(IrqGlobal),
            memory.table(IrqDesc, NR_IRQS),
            memory.table(KstatIrqs, nr_cpu_ids),
            memory.table(IrqCpuStat, nr_cpu_ids),
            memory.table(ArchIrqStat, nr_cpu_ids),
        )

    @classmethod
    def find(cls, memory: KernelMemory) -> IrqTables:
        """Find the tables that a guest has placed. Raises ``LookupError`` if none has."""
        return cls(
            memory.words,
            memory.find(IrqGlobal)[0],
            memory.find(IrqDesc),
            memory.find(KstatIrqs),
            memory.find(IrqCpuStat),
            memory.find(ArchIrqStat),
        )

    @property
    def possible(self) -> int:
        """The mask of possible CPUs."""
        return (1 << self.nr_cpu_ids) - 1

    def early_irq_init(self, nr_irqs: int) -> None:
        """Done once by the boot CPU on zeroed memory. ``nr_irqs``: see :func:`guest.irq.proc.x86_nr_irqs`."""
        self.shared.nr_irqs = nr_irqs
        self.shared.default_affinity = self.possible

    def live(self) -> Iterator[tuple[Irq, IrqDesc]]:
        """The descriptors that exist, by ascending number."""
        words, first, size = self.words, self.descs[0].base + IrqDesc.life.offset, IrqDesc.size
        for irq in range(min(self.shared.nr_irqs, NR_IRQS)):
            if words[first + irq * size] == Life.LIVE:
                yield Irq(irq), self.descs[irq]
