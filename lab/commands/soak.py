"""``soak``: everything busy while everything moves."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from typing import Any, Final

import click

from lab.commands import options
from lab.commands.ending import interruptible
from lab.description import CONTROL_PLANE
from lab.image import disk_for
from lab.soak.journal import journal_for, keep_journal
from lab.soak.soak import Soak, SoakFailed, SoakOptions, verdict
from lab.spec import MAX_SEED, MAX_VCPUS
from lab.vm import VM
from protocol.errors import ExitCode

IMAGE_BYTES: Final = 8 << 20
ANSWERS_ALL_MOVES: Final = {"queue_overlapping_modify": True, "answer_modify_overtaken": True}
"""In order, even if the channel is closed meanwhile, as Hyper-V is said to (RFC patches 10 and 11). Before the RFC, who
moves a channel waits for the answer, if need be for ever; so does Linux."""
UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType[float]):
    """90, 90s, 10m, 1.5h."""

    name = "duration"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if match is None:
            self.fail(f"'{value}' is no duration: write 90s, 10m or 1.5h", parameter, context)
        seconds = float(match[1]) * UNITS[match[2]]
        if seconds < 1:
            self.fail(f"'{value}' is too short: say a second or more", parameter, context)
        return seconds


@click.command()
@options.vm
@click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), help="Virtual processors.")
@click.option("--policy", type=click.Choice(["legacy", "rfc"]), help="Interrupt design.")
@click.option("--disk", callback=options.disk, metavar="FILE[,rw]", help="Raw image for the first SCSI controller.")
@click.option("--duration", type=Duration(), default="60s", show_default=True, help="How long: 90s, 10m, 1.5h.")
@click.option("--interval", type=Duration(), default="5s", show_default=True, help="Between lines of statistics.")
@click.option("--cut", type=Duration(), default="5s", show_default=True, help="Between cuts, at which all must add up.")
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="Of what is tried, in which order."
)
@click.option("--trace", callback=options.output, metavar="FILE", help="Keep the journal here, whatever the end.")
@click.option("--name", default="soak", show_default=True, help="Name of the VM.")
def command(duration: float, interval: float, cut: float, **chosen: Any) -> None:
    """Keep every device busy while everything moves.

    Channels move between CPUs, devices are taken away and offered again, channels are closed and opened, and the host
    answers late. At cuts everybody stands still and the report's equations are checked.

    Ends with `End of test: SUCCESS` or `FAILURE`. What the RFC as posted breaks is counted and named.
    """

    path = chosen["trace"] or f"soak-{chosen['name']}-{chosen['seed']}.trace"

    async def body() -> ExitCode:
        described = options.vm_spec(chosen)
        described = replace(
            described,
            host_options={**ANSWERS_ALL_MOVES, **described.host_options},
            trace_events=list(CONTROL_PLANE),
        )
        with disk_for(described, IMAGE_BYTES) as spec, journal_for(spec) as spec:
            try:
                async with VM(spec) as vm:
                    soak = Soak(vm, SoakOptions(duration, interval, cut), click.echo)
                    report = await soak.run()
            except SoakFailed as failure:
                click.echo(f"End of test: FAILURE: {failure}")
                keep_journal(spec, path)
                click.echo(f"the simulation goes the same way:  ./launch.sh sim --steer {path}")
                return failure.code
        for line in verdict(soak.tally):
            click.echo(f"defect  {line}")
        held = len(report.checks)
        click.echo(f"End of test: SUCCESS: {soak.tally.cuts} cuts, {held} equations at the last one")
        return ExitCode.SUCCESS

    sys.exit(asyncio.run(interruptible(body())))
