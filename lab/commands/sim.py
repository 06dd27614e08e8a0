"""``sim``: the same VM in one process under virtual time."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from lab.commands import options
from lab.console import Console
from lab.description import described
from lab.image import disk_for
from lab.run import RunOptions, run, verdict
from lab.simulation.course import Course
from lab.simulation.follow import follow
from lab.simulation.schedule import RecordedSchedule, Schedule
from lab.simulation.steering import SteeredSchedule
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.errors import ExitCode
from protocol.journal import unpack

IMAGE_BYTES: Final = 1 << 20
FRAMES: Final = 20
JOURNAL: Final = click.Path(exists=True, dir_okay=False)


@click.command()
@options.vm_options
@click.option(
    "--replay",
    type=JOURNAL,
    metavar="FILE",
    help="Take the decisions of the simulated run whose journal this is, with the same options, instead of the seed's.",
)
@click.option(
    "--steer",
    type=JOURNAL,
    metavar="FILE",
    help="Go the way of the real run whose journal this is, of a soak or of run --trace, with its VM; where it says "
    "nothing, the seed decides.",
)
def command(replay: str | None, steer: str | None, **chosen: Any) -> None:
    """The same VM in one process, under virtual time.

    Equal seeds give equal traces.
    """
    if replay and steer:
        raise click.UsageError("--steer makes a run, --replay repeats one: say one of them")
    records = list(unpack(Path(replay or steer or os.devnull).read_bytes()))
    schedule: Schedule | None = RecordedSchedule.of(records) if replay else None
    course = Course(records) if steer else Course.within(records)
    if course is not None:
        spec = replace(described(records), trace=chosen["trace"])
        body = _follow(spec, schedule or SteeredSchedule(course, chosen["seed"]), course, chosen)
    else:
        body = _work(options.vm_spec(chosen), schedule, chosen)
    sys.exit(asyncio.run(body))


async def _work(spec: VmSpec, schedule: Schedule | None, chosen: dict[str, Any]) -> ExitCode:
    """The workload of ``run``."""
    with disk_for(spec, IMAGE_BYTES) as spec, Console([]) as console:
        async with SimulatedVM(spec, schedule) as vm:
            code = await run(vm, RunOptions(chosen["duration"], FRAMES, chosen["json_path"]), console, asyncio.Event())
            click.echo(_signature(vm))
            return code


async def _follow(spec: VmSpec, schedule: Schedule, course: Course, chosen: dict[str, Any]) -> ExitCode:
    """What was done in a real run."""
    with disk_for(spec, IMAGE_BYTES) as spec, Console([]) as console:
        async with SimulatedVM(spec, schedule, course) as vm:
            try:
                return verdict(await follow(vm, course), console, chosen["json_path"])
            finally:
                click.echo(str(course))
                click.echo(_signature(vm))


def _signature(vm: SimulatedVM) -> str:
    return f"trace hash {vm.trace_hash()} after {vm.hub.decisions} decisions"
