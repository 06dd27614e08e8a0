"""``remove``: take a device from a running VM."""

from __future__ import annotations

import asyncio

import click

from lab.attached import AttachedVm
from lab.hotplug import remove


@click.command()
@click.argument("device")
@click.option("--name", help="Which VM, if several are running.")
def command(device: str, name: str | None) -> None:
    """Take a device away from the guest of a running VM.

    It is rescinded, and waited for until the guest has let go of it. `add DEVICE` brings it back.
    """
    relid = asyncio.run(remove(AttachedVm(name), device))
    click.echo(f"{device}: the guest has released relid {relid}")
