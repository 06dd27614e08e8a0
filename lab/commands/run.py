"""``run``: a VM of real processes, its workload, and the verdict."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import click

from lab.commands import options
from lab.commands.ending import interruptible
from lab.console import Console
from lab.image import disk_for
from lab.run import DEFAULT_IMAGE_BYTES, RunOptions, run
from lab.vm import VM
from protocol.errors import ExitCode

NEXT_STEPS: Final = [
    "./launch.sh run --policy legacy                 the same before the RFC: one HYP line for everything",
    "./launch.sh soak --duration 60s                 everything moves while everything is busy",
    "./launch.sh run --duration 0                    and elsewhere: top, cat, ls, write, add, remove, act",
    "./launch.sh sim --seed 7                        the same VM in one process under virtual time",
    "./launch.sh linux                               an unmodified Linux kernel as the guest of the same host",
]


@click.command()
@options.vm_options
def command(**chosen: Any) -> None:
    """Run a VM of real processes, put it to work, and judge it.

    A supervisor, a host process, and one worker process per vCPU.
    """

    stop = asyncio.Event()

    def asked() -> bool:
        """The first Ctrl-C ends a run without a duration as if it were over."""
        if chosen["duration"] or stop.is_set():
            return False
        stop.set()
        return True

    async def body() -> ExitCode:
        with disk_for(options.vm_spec(chosen), DEFAULT_IMAGE_BYTES) as spec, Console(NEXT_STEPS) as console:
            async with VM(spec) as vm:
                return await run(vm, RunOptions(chosen["duration"], json_path=chosen["json_path"]), console, stop)

    sys.exit(asyncio.run(interruptible(body(), asked)))
