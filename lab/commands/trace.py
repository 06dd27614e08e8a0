"""``trace``: a journal as text."""

from __future__ import annotations

from pathlib import Path

import click

from lab.trace import lines


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--who", help="Only what this participant wrote: host, cpu0, cpu1, ...")
@click.option("--event", help="Only events of this kind.")
@click.option("--message", is_flag=True, help="Only control messages.")
def command(file: str, who: str | None, event: str | None, message: bool) -> None:
    """Print a journal, one line an event.

    Time in seconds, who, what, with the fields of messages.
    """
    for line in lines(Path(file).read_bytes(), who, event, message):
        click.echo(line)
