"""What ``top`` shows: how often each IRQ was taken on each CPU, by the difference of two looks at a running guest."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from guest.irq.parse import IrqRow, parse_interrupts
from guest.irq.x86_rows import SINGLE_ROWS
from lab.files import Files
from lab.guest_view import GuestView

FIXED_WIDTH = 48
CPU_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Row:
    """One row of /proc/interrupts, or the sum of all top-level VMBus interrupts."""

    label: str
    what: str
    vmbus: bool
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Counts at a time, in seconds. ``cpus``: those that are online, in the order of the columns."""

    time: float
    cpus: tuple[int, ...]
    top_level: tuple[int, ...]
    rows: tuple[Row, ...]

    @classmethod
    def at(cls, time: float, guest: GuestView, files: Files) -> Look:
        """What /proc/interrupts says now, and what the top-level handlers have counted."""
        table = parse_interrupts(files.read("/proc/interrupts").decode())
        rows = [Row(str(row.irq), _what(row), row.chip == "VMBus", row.counts) for row in table.rows]
        rows += [Row(label, "", False, counts) for label, counts in table.tail.items() if label not in SINGLE_ROWS]
        top_level = tuple(guest.vmbus.cpus[cpu].interrupts for cpu in table.cpus)
        return cls(time, table.cpus, top_level, tuple(rows))


def _what(row: IrqRow) -> str:
    return " ".join(part for part in (row.chip, str(row.hwirq or ""), row.action) if part)


@dataclass(frozen=True, slots=True)
class Rate:
    """Interrupts a second, by online CPU."""

    label: str
    what: str
    vmbus: bool
    total: int
    """Since the guest was started."""
    per_cpu: tuple[float, ...]

    @property
    def sum(self) -> float:
        return sum(self.per_cpu)


def rates(before: Look, now: Look) -> list[Rate]:
    """VMBus rows by rate, then the others that were ever taken, by rate. New rows and columns began at zero."""
    seconds = max(now.time - before.time, 1e-9)
    old = {row.label: dict(zip(before.cpus, row.counts, strict=True)) for row in before.rows}
    found = []
    for row in now.rows:
        was = old.get(row.label, {})
        moved = (max(count - was.get(cpu, 0), 0) / seconds for cpu, count in zip(now.cpus, row.counts, strict=True))
        found.append(Rate(row.label, row.what, row.vmbus, sum(row.counts), tuple(moved)))
    return sorted((rate for rate in found if rate.vmbus or rate.total), key=lambda rate: (not rate.vmbus, -rate.sum))


def top_level_rates(before: Look, now: Look) -> tuple[float, ...]:
    """Top-level VMBus interrupts a second, by online CPU."""
    old = dict(zip(before.cpus, before.top_level, strict=True))
    seconds = max(now.time - before.time, 1e-9)
    return tuple(max(count - old.get(cpu, 0), 0) / seconds for cpu, count in zip(now.cpus, now.top_level, strict=True))


def frame(before: Look, now: Look, width: int) -> Table:
    """As many CPUs as fit into ``width`` characters; the sums are of all."""
    columns = min(len(now.cpus), max(0, (width - FIXED_WIDTH) // CPU_WIDTH))
    title = f"interrupts per second, over {now.time - before.time:.1f} s"
    if columns < len(now.cpus):
        title += f"; {len(now.cpus) - columns} of {len(now.cpus)} CPUs do not fit"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="bold")
    table.add_column("IRQ", justify="right")
    table.add_column("what", no_wrap=True)
    table.add_column("total", justify="right")
    table.add_column("all/s", justify="right")
    for cpu in now.cpus[:columns]:
        table.add_column(f"CPU{cpu}", justify="right", min_width=CPU_WIDTH - 1)
    level = top_level_rates(before, now)
    table.add_row(
        "", "top-level interrupts", str(sum(now.top_level)), *_cells(sum(level), level[:columns]), style="bold"
    )
    for rate in rates(before, now):
        table.add_row(rate.label, rate.what, str(rate.total), *_cells(rate.sum, rate.per_cpu[:columns]))
    return table


def _cells(total: float, per_cpu: tuple[float, ...]) -> list[str]:
    return [f"{value:.0f}" if value else "." for value in (total, *per_cpu)]
