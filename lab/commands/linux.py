"""``linux``: a real kernel as the guest."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

import click

from guest.linux.layout import MAX_VCPUS
from lab.commands import options
from lab.image import disk_for
from lab.linux.parts import linux_spec
from lab.linux.run import IMAGE_BYTES, LinuxOptions, run_linux, say


@click.command()
@options.vm
@click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), help="Virtual processors; 2 if nothing is said.")
@click.option("--disk", callback=options.disk, metavar="FILE[,rw]", help="Raw image, /dev/sda in the guest.")
@click.option(
    "--vmbus-version",
    type=click.Choice(["4.0", "4.1", "5.0", "5.1", "5.2", "5.3"]),
    default="5.3",
    show_default=True,
    help="Newest VMBus protocol that the host agrees to.",
)
@click.option("--script", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Run it in the guest.")
@click.option("--keep", is_flag=True, help="A shell on the guest's console before it is switched off.")
@click.option("--trace", callback=options.output, metavar="FILE", help="Write the journal here.")
@click.option("--json", "json_path", callback=options.output, metavar="FILE", help="Write the report.")
@click.option("--name", default="linux", show_default=True, help="Name of the VM.")
def command(script: str | None, keep: bool, json_path: str | None, vmbus_version: str, **chosen: Any) -> None:
    """Boot an unmodified Linux kernel as the guest.

    What it says is compared with what the host says. The kernel, busybox and QEMU are fetched as Debian packages at
    first use and not installed.
    """
    spec = options.linux_vm_spec(chosen, linux_spec(say))
    spec = replace(spec, host_options={**spec.host_options, "max_version": vmbus_version})
    with disk_for(spec, IMAGE_BYTES) as with_disk:
        sys.exit(asyncio.run(run_linux(with_disk, LinuxOptions(script, keep, json_path))))
