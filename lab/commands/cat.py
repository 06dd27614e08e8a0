"""``cat``: a file of a running VM."""

from __future__ import annotations

import click

from lab import rundir
from lab.memories import Memories
from lab.views import Views


@click.command()
@click.argument("path")
@click.option("--name", help="Which VM, if several are running.")
def command(path: str, name: str | None) -> None:
    """Print a file of the running VM: /proc/interrupts, /proc/stat. Nobody is stopped for it."""

    click.echo(Views(Memories(rundir.find(name)).guest()).cat(path), nl=False)
