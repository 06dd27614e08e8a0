"""``diff``: both boots, the table, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.linux.differential import observe
from lab.linux.differential.compare import Row, Verdict, compare
from lab.spec import VmSpec
from protocol.errors import ExitCode

COLOURS: Final = {Verdict.EQUAL: "green", Verdict.EXPLAINED: "yellow", Verdict.UNEXPLAINED: "bold red"}
WIDTH_WITHOUT_TERMINAL: Final = 160


async def differences(spec: VmSpec) -> list[Row]:
    """Start ``spec``, which says what Linux is booted from, twice, and compare.

    Where sub-channels go depends on which device asks for them first, and that is open (the drivers are probed
    asynchronously). So the second host offers them in the order of the first.
    """
    emulated = await observe.emulated(spec)
    real = await observe.real(replace(spec, sub_channel_order=emulated.sub_channel_order))
    return list(compare(emulated.streams, real.streams))


async def run_diff(spec: VmSpec) -> ExitCode:
    """The table on standard output; a difference that nothing explains is a failed check."""
    with Console(stderr=True).status("starting the emulated guest, then the real kernel"):
        rows = await differences(spec)
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    out.print(table(rows))
    counts = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    failed = counts[Verdict.UNEXPLAINED]
    out.print(
        f"[{'red' if failed else 'green'}]{'FAILED' if failed else 'verified'}[/]  {spec.vcpus} vCPUs: "
        + ", ".join(f"{count} rows {verdict}" for verdict, count in counts.items())
    )
    return ExitCode.CHECK_FAILED if failed else ExitCode.SUCCESS


def table(rows: Sequence[Row]) -> Table:
    """Runs of equal items by their names, differences in full."""
    shown = Table(header_style="bold")
    shown.add_column("what", ratio=3)
    shown.add_column("emulated", ratio=6)
    shown.add_column("real kernel", ratio=6)
    shown.add_column("verdict", ratio=5)
    where = ""
    for row in rows:
        verdict = Text(row.verdict, style=COLOURS[row.verdict])
        if row.explanation is not None:
            verdict.append(f": {row.explanation.reason} [{row.explanation.function}]", style="default")
        if row.where != where:
            shown.add_section()
        shown.add_row("" if row.where == where else row.where, Text(row.emulated), Text(row.real), verdict)
        where = row.where
    return shown
