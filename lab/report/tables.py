"""The report as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.markup import escape
from rich.table import Table

from lab.report.catalogue import CATALOGUE
from lab.report.check import Check
from lab.report.report import Report

LONGEST: Final = 110


def _table(*headings: str, left: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    return table


def channels(report: Report) -> Table:
    """Each channel: what the host sent and heard, and what the guest counted and rang; bytes since the last open."""
    table = _table(
        *("relid", "IRQ", "channel", "CPU", "opens", "sent", "counted", "dropped", "merged"),
        *("rang", "heard", "bytes in", "bytes out"),
        left=("channel",),
    )
    for row in report.channels:
        numbers = (row.opens, row.sent, row.counted, row.uncounted, row.merged, row.doorbells, row.heard)
        moved = (row.bytes_to_guest, row.bytes_to_host)
        table.add_row(
            str(row.relid), str(row.irq or "-"), escape(row.name), str(row.target_cpu), *map(str, (*numbers, *moved))
        )
    return table


def vps(report: Report) -> Table:
    """Each VP, from the host's signals to the guest's interrupts."""
    table = _table(
        *("VP", "raised", "coalesced", "sent", "merged", "cleared", "interrupts", "spurious"),
        *("messages", "HYP", "IPIs", "envelopes"),
    )
    for row in report.vps:
        signals = (row.signals_raised, row.signals_coalesced, row.signals_sent, row.signals_merged, row.flags_cleared)
        rest = (row.interrupts, row.spurious, row.messages_taken, row.hyp, row.ipis, row.envelopes)
        table.add_row(*map(str, (row.vp, *signals, *rest)))
    return table


def invariants(report: Report) -> Iterator[str]:
    """A line for each invariant that applies: how many of its checks hold, and one of them with its two numbers."""
    for number, checks in report.invariants.items():
        if checks:
            held = sum(check.holds for check in checks)
            shown = next((check for check in checks if not check.holds), checks[0])
            colour = "green" if shown.holds else "yellow" if shown.defect else "red"
            count = f"{held}/{len(checks)}"
            yield f"[{colour}]{number:4}[/{colour}] {count:>7}  {CATALOGUE[number]}  [dim]{escape(brief(shown))}[/dim]"


def brief(check: Check) -> str:
    """The check in a line of a table: digests are cut."""
    text = str(check)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
