"""``cat``: files of a running VM."""

from __future__ import annotations

import click

from lab.attached import AttachedVm
from lab.files import looking_at


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--name", help="Which VM, if several are running.")
def command(paths: tuple[str, ...], name: str | None) -> None:
    """Print files of the running VM.

    /proc/interrupts, /proc/irq/24/smp_affinity, ... Nobody is stopped for it. `ls` shows what there is.
    """
    files = AttachedVm(name).files
    for path in paths:
        with looking_at(path):
            content = files.read(path)
        click.echo(content, nl=False)
