"""``diff``: the emulated guest and a real kernel side by side."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from guest.linux.layout import MAX_VCPUS
from lab.commands import options
from lab.image import disk_for
from lab.linux.differential.run import run_diff
from lab.linux.parts import linux_spec
from lab.linux.run import IMAGE_BYTES, say


@click.command()
@options.vm
@click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), help="Virtual processors; 2 if nothing is said.")
@click.option("--disk", callback=options.disk, metavar="FILE", help="Raw image for the SCSI controller of both.")
@click.option("--name", default="diff", show_default=True, help="Both VMs are named after it.")
def command(**chosen: Any) -> None:
    """Compare the emulated guest with a real kernel.

    The same VM is started with each. Compared are every control message, the first packets of every device, the CPUs
    of the channels, the layout of /proc/interrupts.
    Exit code 1 if they differ in anything that is not known and explained.
    """
    with disk_for(options.linux_vm_spec(chosen, linux_spec(say)), IMAGE_BYTES) as spec:
        sys.exit(asyncio.run(run_diff(spec)))
