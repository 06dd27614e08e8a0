"""``add``: a device for a running VM."""

from __future__ import annotations

import asyncio

import click

from lab.attached import AttachedVm
from lab.hotplug import add, offer_again
from lab.settings import parsed
from protocol.errors import OperatorError


@click.command()
@click.argument("device")
@click.option("--kind", help="What it is; without it, the device is one that was removed.")
@click.option("--relid", type=click.IntRange(1, 2047), help="Pin the relid of a new device.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the kind, as in a VM file.")
@click.option("--name", help="Which VM, if several are running.")
def command(device: str, kind: str | None, relid: int | None, settings: tuple[str, ...], name: str | None) -> None:
    """Offer a device to the guest of a running VM.

    A new one under the name DEVICE, or one that was removed.
    """
    options = parsed(settings, "--set ")
    if kind is None and (options or relid):
        raise OperatorError("--set and --relid are for a new device: say its --kind too")
    vm = AttachedVm(name)
    work = offer_again(vm, device) if kind is None else add(vm, kind, device, relid, options)
    click.echo(f"{device}: offered as relid {asyncio.run(work)}")
