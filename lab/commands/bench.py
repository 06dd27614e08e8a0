"""``bench``: measurements."""

from __future__ import annotations

import sys

import click

from bench.main import bench
from lab import scale
from lab.commands import options


@click.command()
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True, help="Interleaved rounds.")
@click.option("--json", "json_path", callback=options.output, metavar="FILE", help="Write the figures here.")
def command(rounds: int, json_path: str | None) -> None:
    """Measure, as ratios in one run.

    Round trips, rings, the IRQ layer, and a large VM beside a small one. Exit code 1 if a gate fails. The gates are for
    a Python that was built with optimizations, as Debian's is: without them it is a fifth slower.
    """
    sys.exit(bench(rounds, json_path, scale.figures))
