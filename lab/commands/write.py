"""``write``: one write(2) by a process of the guest."""

from __future__ import annotations

import asyncio
import sys

import click

from lab.attached import AttachedVm
from lab.failure import VmFailure
from lab.files import in_words
from protocol.errors import ExitCode


@click.command()
@click.argument("path")
@click.argument("text", required=False)
@click.option("--cpu", type=click.IntRange(0), default=0, show_default=True, help="The guest CPU that does it.")
@click.option("--name", help="Which VM, if several are running.")
def command(path: str, text: str | None, cpu: int, name: str | None) -> None:
    """Write to a file of the running VM.

    TEXT and a newline, or standard input as it is. One write(2), whose result is printed; exit code 1 if it failed.
    What can be written: /proc/irq/N/smp_affinity and smp_affinity_list, /proc/irq/default_smp_affinity, the `cpu` of a
    channel, `bind` and `unbind` of a driver, `online` of a CPU, `flags` of a network device.
    """
    data = sys.stdin.buffer.read() if text is None else text.encode() + b"\n"
    try:
        result = asyncio.run(AttachedVm(name).files.write(path, data, cpu))
    except OSError as error:
        raise VmFailure(ExitCode.CHECK_FAILED, f"write: {in_words(error)}") from None
    if data and not result:
        click.echo("write returned 0: defect D2 of RFC patch 10. It was done, but `echo` would repeat it for ever")
    else:
        click.echo(f"write returned {result}")
