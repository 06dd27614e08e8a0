"""``faults``: which fault turns which invariant red."""

from __future__ import annotations

import asyncio
import sys

import click
from rich.table import Table

from guest.vmbus.policy import Policy
from lab.commands import options
from lab.console import Console, Output
from lab.faults.page import page
from lab.faults.table import FaultTable, fault_table, name_of
from lab.output import save, save_json
from protocol.errors import ExitCode


@click.command()
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the schedules.")
@click.option("--json", "json_path", callback=options.output, metavar="FILE", help="Write the tables.")
@click.option(
    "--markdown", callback=options.output, metavar="FILE", help="Write the tables as docs/faults.md has them."
)
def command(seed: int, json_path: str | None, markdown: str | None) -> None:
    """Break a simulated VM in every known way.

    The table shows which invariants of the report notice. Exit code 1 if an invariant never turns red, if a fault turns
    other ones red than it should, or if a VM without a fault is not all green.
    """

    async def body() -> list[FaultTable]:
        with Console([]) as console:
            return [await fault_table(policy, seed, console.progress) for policy in Policy]

    tables = asyncio.run(body())
    out = Output(highlight=False, width=None if sys.stdout.isatty() else 160)
    for table in tables:
        out.print(_rich(table))
        for line in table.wrong:
            out.print(f"WRONG     {line}", markup=False, style="red")
    if markdown is not None:
        save(markdown, page(tables))
    if json_path is not None:
        save_json(json_path, [table.to_plain() for table in tables])
    sys.exit(ExitCode.CHECK_FAILED if any(table.wrong for table in tables) else ExitCode.SUCCESS)


def _rich(table: FaultTable) -> Table:
    """A column an invariant."""
    shown = Table(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title=f"policy {table.policy.value}"
    )
    shown.add_column("fault")
    shown.add_column("where")
    for number in table.invariants:
        shown.add_column(number, justify="center")
    for case, red in table.red:
        marks = ("[red]x[/red]" if number in red else "." for number in table.invariants)
        shown.add_row(name_of(case), case.where, *marks)
    return shown
