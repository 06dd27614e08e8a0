"""``act``: have a device of a running VM do something."""

from __future__ import annotations

import asyncio

import click

from lab.attached import AttachedVm
from lab.commands import options
from lab.output import save
from lab.settings import parsed


@click.command()
@click.argument("device")
@click.argument("action")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--output", callback=options.output, metavar="FILE", help="Where bytes go, say a picture.")
@click.option("--name", help="Which VM, if several are running.")
def command(device: str, action: str, settings: tuple[str, ...], output: str | None, name: str | None) -> None:
    """Have a device type, move the mouse, ask for a backup.

    What the kind of DEVICE can do, with what it takes.

    \b
    act keyboard type_text text="echo hello"     act balloon inflate pages=1024
    act mouse move x=100 y=200                   act kvp enumerate
    """
    arguments = {**parsed(settings), "name": device, "action": action}
    result = asyncio.run(AttachedVm(name).operate("act", **arguments))
    if isinstance(result, bytes):
        if output is not None:
            save(output, result)
        click.echo(f"{len(result)} bytes" + (f" in {output}" if output else ": --output FILE keeps them"))
    elif result is not None:
        click.echo(result)
