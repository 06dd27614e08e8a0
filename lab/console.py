"""What a person sees of a run: a progress line on a terminal, the table, and what was verified."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

import rich.console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lab.report import Report


class Console:
    """Progress goes to standard error and only to a terminal; results go to standard output."""

    def __init__(self, next_steps: list[str]) -> None:
        self._out = rich.console.Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            console=rich.console.Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("starting", total=None)
        self._next_steps = next_steps

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, what: str) -> None:
        """Something of unknown length begins."""
        self._progress.update(self._task, description=what, total=None)

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total``; a total of 0 is unknown."""
        self._progress.update(self._task, description=what, completed=done, total=total or None)

    def result(self, table: str, report: Report) -> None:
        """The table, the channels, what was verified, and what to try next."""
        self._progress.stop()
        out = self._out
        out.print(escape(table), end="", markup=False)
        out.print()
        held = len(report.checks) - len(report.failed)
        for check in report.checks[: 3 if not report.failed else len(report.checks)]:
            if check.holds and check.name.startswith(("SHA-256", "pattern", "image")):
                out.print(f"[green]verified[/green]  {escape(str(check))}")
        for check in report.failed:
            out.print(f"[red]FAILED[/red]    {escape(str(check))}")
        sent, counted = sum(row.sent for row in report.channels), sum(row.counted for row in report.channels)
        merged = report.totals["signals merged in the page"]
        out.print(
            f"[green]verified[/green]  {held} of {len(report.checks)} equations between host and guest at a fenced "
            f"cut: {sent} signals sent = {counted} counted + {merged} merged; "
            f"{report.totals['control messages']} control messages; protocol {report.version}"
        )
        for complaint in report.complaints:
            out.print(f"[yellow]host says[/yellow] {escape(complaint)}")
        if self._next_steps and not report.failed:
            out.print("try next  " + escape("\n          ".join(self._next_steps)))
