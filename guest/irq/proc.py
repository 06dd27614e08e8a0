"""/proc/interrupts and the ``intr`` line of /proc/stat, byte for byte, from kernel memory alone.

``show_interrupts`` (kernel/irq/proc.c), ``arch_show_interrupts`` (x86) and fs/proc/stat.c as of Linux 6.10. Nothing is
stopped and no lock is taken: each number is right when it is read, and the table as a whole is no snapshot, as in
Linux. Newer kernels (2026) print other widths and leave out idle rows; that format is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from guest.irq.desc import COUNT_MASK, NR_IRQS, ArchIrqStat, IrqDesc, IrqTables, KstatIrqs
from guest.irq.flags import IRQ_HIDDEN, IRQ_PER_CPU
from guest.irq.x86_rows import IN_PROC_STAT, ORDER, PER_CPU_ROWS, SINGLE_ROWS


@dataclass(frozen=True, slots=True)
class GuestProfile:
    """What a guest's kernel prints.

    ``tail``: labels of the rows below the numbered ones. ``counts_outlive_action``: a row stays after its action was
    freed if an online CPU ever counted (6.10); without it, rows need an action (6.12). The default is the kernel of
    the RFC's cover letter: 6.10-rc2, Generation 2, KVM built in.
    """

    tail: frozenset[str] = field(default=frozenset(ORDER) - {"PLT", "PMN"})
    counts_outlive_action: bool = True


COVER_LETTER = GuestProfile()


def x86_nr_irqs(nr_cpu_ids: int, *, legacy_pic: bool = False, gsi_top: int = 24, limit: int = NR_IRQS) -> int:
    """nr_irqs at boot (``arch_probe_nr_irqs``, arch/x86/kernel/apic/vector.c, with PCI MSI).

    ``legacy_pic``: Generation 1 VMs have one, with 16 interrupts of its own.
    """
    msi = gsi_top * 16 if gsi_top > 16 else 8 * nr_cpu_ids
    return min(gsi_top + 16 * legacy_pic + 8 * nr_cpu_ids + msi, 256 * nr_cpu_ids, limit)


def number_width(nr_irqs: int) -> int:
    """The width of IRQ numbers and labels: the digits of ``nr_irqs``, 3 to 10. Capacity decides, not use."""
    return min(max(len(str(nr_irqs)), 3), 10)


def show_interrupts(tables: IrqTables, online: int, profile: GuestProfile = COVER_LETTER) -> str:
    """/proc/interrupts. Columns are the CPUs of the ``online`` mask; the blanks after the last header stay."""
    width = number_width(tables.shared.nr_irqs)
    cpus = [cpu for cpu in range(tables.nr_cpu_ids) if online >> cpu & 1]
    lines = [" " * (width + 8) + "".join(f"CPU{cpu:<8d}" for cpu in cpus)]
    lines += _numbered_rows(tables, cpus, width, profile)
    lines += (_tail_row(tables, cpus, width, label) for label in ORDER if label in profile.tail)
    return "\n".join(lines) + "\n"


def _numbered_rows(tables: IrqTables, cpus: list[int], width: int, profile: GuestProfile) -> Iterator[str]:
    words = tables.words
    columns = [tables.kstat[cpu].base + KstatIrqs.counts.offset for cpu in cpus]
    for irq, desc in tables.live():
        if desc.status & IRQ_HIDDEN:
            continue
        action = desc.action
        counts = [words[column + irq] & COUNT_MASK for column in columns]
        if action or (profile.counts_outlive_action and any(counts)):
            yield f"{irq:{width}d}: {_cells(counts)}{_describe(desc, width)}"


def _describe(desc: IrqDesc, width: int) -> str:
    """Chip, hwirq, flow name and action: no trailing blank, whatever is missing at the end."""
    hwirq = str(desc.hwirq) if desc.domain else ""
    flow = f"-{desc.flow_name:<8}" if desc.flow_name else ""
    action = f"  {desc.action_name}" if desc.action else ""
    return f" {desc.chip_name or '-':>8} {hwirq:>{width}}{flow}{action}"


def _tail_row(tables: IrqTables, cpus: list[int], width: int, label: str) -> str:
    if label in SINGLE_ROWS:
        total = tables.shared.err if label == "ERR" else tables.shared.mis
        return f"{label:>{width}}: {total & COUNT_MASK:10d}"
    counts = [_arch_count(tables, cpu, label) & COUNT_MASK for cpu in cpus]
    return f"{label:>{width}}: {_cells(counts)}  {PER_CPU_ROWS[label]}"


def _cells(counts: list[int]) -> str:
    return "".join([f"{count:10d} " for count in counts])


def _arch_count(tables: IrqTables, cpu: int, label: str) -> int:
    return tables.words[tables.arch_stat[cpu].base + ArchIrqStat.fields[label.lower()].offset]


def show_stat_intr(tables: IrqTables) -> str:
    """The ``intr`` line of /proc/stat: the total, then one number for each IRQ below nr_irqs, used or not.

    The total is the sum over *possible* CPUs of irqs_sum and the architecture's counters, plus the error count; so it
    exceeds the numbers that follow. Per-CPU IRQs keep no total of their own and are summed.
    """
    cpus = range(tables.nr_cpu_ids)
    total = tables.shared.err + sum(stat.irqs_sum for stat in tables.cpu_stat)
    total += sum(_arch_count(tables, cpu, label) for cpu in cpus for label in IN_PROC_STAT)
    counts = [0] * tables.shared.nr_irqs
    for irq, desc in tables.live():
        if desc.status & IRQ_PER_CPU:
            counts[irq] = sum(column.counts[irq] for column in tables.kstat) & COUNT_MASK
        else:
            counts[irq] = desc.tot_count & COUNT_MASK
    return f"intr {total} {' '.join(map(str, counts))}\n"
