"""Reading /proc/interrupts back: what tools do, and what checks that the renderer lost nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from guest.irq.x86_rows import SINGLE_ROWS
from protocol.ids import Irq

_DESCRIPTION = re.compile(r" +(?P<chip>\S+) +(?P<hwirq>\d+)?(?:-(?P<flow>\S+) *)?(?:  (?P<action>.*))?")


@dataclass(frozen=True, slots=True)
class IrqRow:
    """A numbered row. ``action`` is None where the row ends after the chip's part, "" where an empty name follows."""

    irq: Irq
    counts: tuple[int, ...]
    chip: str
    hwirq: int | None
    flow: str
    action: str | None


@dataclass(frozen=True, slots=True)
class Interrupts:
    """A parsed table. ``tail`` holds the architecture's rows by label, ERR and MIS with a single number."""

    cpus: tuple[int, ...]
    width: int
    rows: tuple[IrqRow, ...]
    tail: dict[str, tuple[int, ...]]

    def row(self, irq: int) -> IrqRow:
        """The row of an IRQ; raises ``KeyError`` if it is not shown."""
        for row in self.rows:
            if row.irq == irq:
                return row
        raise KeyError(irq)


def parse_interrupts(text: str) -> Interrupts:
    """Parse a table as :func:`guest.irq.proc.show_interrupts` prints it. Raises ``ValueError`` naming the bad line."""
    header, *lines = text.splitlines()
    cpus = tuple(int(name.removeprefix("CPU")) for name in header.split())
    rows: list[IrqRow] = []
    tail: dict[str, tuple[int, ...]] = {}
    for line in lines:
        label, colon, rest = line.partition(": ")
        name = label.strip()
        cells = 1 if name in SINGLE_ROWS else len(cpus)
        try:
            counts = tuple(int(rest[11 * cell : 11 * cell + 10]) for cell in range(cells))
            if name.isdigit():
                rows.append(_irq_row(Irq(int(name)), counts, rest[11 * cells :]))
            else:
                tail[name] = counts
        except ValueError as error:
            raise ValueError(f"not a line of /proc/interrupts: {line!r}") from error
        if not colon:
            raise ValueError(f"not a line of /proc/interrupts: {line!r}")
    return Interrupts(cpus, len(header) - len(header.lstrip()) - 8, tuple(rows), tail)


def _irq_row(irq: Irq, counts: tuple[int, ...], description: str) -> IrqRow:
    match = _DESCRIPTION.fullmatch(description)
    if match is None:
        raise ValueError(description)
    hwirq = match["hwirq"]
    return IrqRow(irq, counts, match["chip"], int(hwirq) if hwirq else None, match["flow"] or "", match["action"])
