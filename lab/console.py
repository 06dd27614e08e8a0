"""What a person sees of a run: a progress line on a terminal, the table, and what was verified."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import Self

import rich.console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lab.report import Report, tables

WIDTH = 100
"""Columns that the tables need."""


class Output(rich.console.Console):
    """Standard output whose reader may leave (``| head``): what is left to say is dropped, the exit code stands."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Console:
    """Progress goes to standard error and only to a terminal; results go to standard output."""

    def __init__(self, next_steps: list[str]) -> None:
        self._out = Output(highlight=False, soft_wrap=True, width=max(WIDTH, shutil.get_terminal_size().columns))
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

    def result(self, report: Report) -> None:
        """The guest's table, the two sides of each channel, what was verified, and what to try next."""
        self._progress.stop()
        out = self._out
        out.print(report.interrupts, markup=False)
        out.print(tables.channels(report))
        out.print(tables.vps(report))
        for line in tables.invariants(report):
            out.print(line)
        totals = report.totals
        out.print(
            f"{totals['signals raised']} signals raised: {totals['signals coalesced by the host']} coalesced, "
            f"{totals['signals refused']} refused, {totals['signals merged in the page']} merged; "
            f"{totals['top-level interrupts']} interrupts, {totals['spurious interrupts']} spurious; "
            f"{totals['HYP']} HYP for {totals['control messages']} control messages; protocol {report.version}"
        )
        for check in report.checks:
            if check.failed:
                out.print(f"[red]FAILED[/red]    {escape(str(check))}")
            elif not check.holds:
                out.print(f"[yellow]{check.defect:9}[/yellow] {escape(str(check))}")
            elif check.highlight:
                out.print(f"[green]verified[/green]  {escape(str(check))}")
        held = len(report.checks) - len(report.failed)
        colour = "red" if report.failed else "green"
        out.print(
            f"[{colour}]{'FAILED' if report.failed else 'verified'}[/{colour}]  "
            f"{held} of {len(report.checks)} equations between host and guest hold at a fenced cut"
        )
        for complaint in report.complaints:
            out.print(f"[yellow]host says[/yellow] {escape(complaint)}")
        for warning in report.warnings:
            out.print(f"[yellow]warning[/yellow]   driver {escape(warning)}")
        for mistake in report.mistakes:
            out.print(f"[red]mistake[/red]   {escape(mistake)}")
        if self._next_steps and not report.failed:
            out.print("try next  " + escape("\n          ".join(self._next_steps)))
