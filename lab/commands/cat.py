"""``cat``: files of a running VM."""

from __future__ import annotations

import click

from lab.attached import AttachedVm
from lab.failure import VmFailure
from lab.files import in_words
from protocol.errors import ExitCode, OperatorError


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--name", help="Which VM, if several are running.")
def command(paths: tuple[str, ...], name: str | None) -> None:
    """Print files of the running VM: /proc/interrupts, /proc/irq/24/smp_affinity, ... Nobody is stopped for it.

    `ls` shows what there is.
    """
    files = AttachedVm(name).files
    for path in paths:
        try:
            click.echo(files.read(path), nl=False)
        except FileNotFoundError:
            raise OperatorError(f"{path} is not in this VM: './launch.sh ls' shows what is") from None
        except OSError as error:
            raise VmFailure(ExitCode.CHECK_FAILED, f"cat: {path}: {in_words(error)}") from None
