"""``sim``: the same VM in one process under virtual time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import click

from lab.commands import options
from lab.console import Console
from lab.image import disk_for
from lab.run import RunOptions, run
from lab.simulation.schedule import RecordedSchedule
from lab.simulation.vm import SimulatedVM
from protocol.errors import ExitCode
from protocol.journal import unpack

IMAGE_BYTES: Final = 1 << 20
FRAMES: Final = 20


@click.command()
@options.vm_options
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Take the decisions of the simulated run whose journal this is, with the same options, instead of the seed's.",
)
def command(**chosen: Any) -> None:
    """The same VM and workload in one process, under virtual time; equal seeds give equal traces."""

    replay = chosen["replay"]
    schedule = RecordedSchedule.of(unpack(Path(replay).read_bytes())) if replay else None

    async def body() -> ExitCode:
        with disk_for(options.vm_spec(chosen), IMAGE_BYTES) as spec, Console([]) as console:
            async with SimulatedVM(spec, schedule) as vm:
                code = await run(
                    vm, RunOptions(chosen["duration"], FRAMES, chosen["json_path"]), console, asyncio.Event()
                )
                click.echo(f"trace hash {vm.trace_hash()} after {vm.hub.decisions} decisions")
                return code

    sys.exit(asyncio.run(body()))
