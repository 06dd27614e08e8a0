"""``act``: have a device of a running VM do something."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from lab.hotplug import host_of
from lab.settings import parsed


@click.command()
@click.argument("device")
@click.argument("action")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where bytes go, say a picture.")
@click.option("--name", help="Which VM, if several are running.")
def command(device: str, action: str, settings: tuple[str, ...], output: Path | None, name: str | None) -> None:
    """Type, move the mouse, take memory, ask for a backup: what the kind of DEVICE can do, with what it takes.

    \b
    act keyboard type_text text="echo hello"     act balloon inflate pages=1024
    act mouse move x=100 y=200                   act kvp enumerate
    """
    result = asyncio.run(_act(name, device, action, parsed(settings)))
    if isinstance(result, bytes):
        if output is not None:
            output.write_bytes(result)
        click.echo(f"{len(result)} bytes" + (f" in {output}" if output else ": --output FILE keeps them"))
    elif result is not None:
        click.echo(result)


async def _act(vm: str | None, device: str, action: str, arguments: dict[str, Any]) -> Any:
    async with host_of(vm) as host:
        return await host.request("act", **{**arguments, "name": device, "action": action})
