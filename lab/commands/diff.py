"""``diff``: the emulated guest and a real kernel side by side."""

from __future__ import annotations

import asyncio
import sys

import click

from lab.commands import options
from lab.image import disk_for
from lab.linux.differential.run import run_diff
from lab.linux.parts import linux_spec
from lab.linux.run import IMAGE_BYTES, say
from lab.linux.vm import MEMORY_MB
from lab.spec import DiskSpec, VmSpec


@click.command()
@click.option("--vcpus", type=click.IntRange(1, 4), default=2, show_default=True, help="Virtual processors.")
@click.option("--disk", callback=options.disk, metavar="FILE", help="Raw image for the SCSI controller of both.")
@click.option("--name", default="diff", show_default=True, help="Both VMs are named after it.")
def command(vcpus: int, disk: DiskSpec | None, name: str) -> None:
    """Start one VM with the emulated guest and with a real kernel, and compare what they do.

    Every control message, the first packets of every device, the CPUs of the channels, the layout of /proc/interrupts.
    Exit code 1 if they differ in anything that is not known and explained.
    """

    spec = VmSpec(name=name, vcpus=vcpus, disks=[disk] if disk else [], memory_mb=MEMORY_MB, linux=linux_spec(say))
    with disk_for(spec, IMAGE_BYTES) as spec_with_disk:
        sys.exit(asyncio.run(run_diff(spec_with_disk)))
