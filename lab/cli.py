"""The command line: ``./launch.sh COMMAND``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lab.console import Console
from lab.failure import VmFailure
from lab.image import disk_for
from lab.run import DEFAULT_IMAGE_BYTES, RunOptions, run
from lab.spec import DiskSpec, VmSpec
from protocol.errors import ExitCode, OperatorError

NEXT_STEPS = [
    "./launch.sh run --policy legacy                 the same before the RFC: one HYP line for everything",
    "./launch.sh run --disk FILE --trace FILE.trace  read an image of yours, record every event",
    "./launch.sh trace FILE.trace --message          the control messages of that run, decoded",
    "./launch.sh sim --seed 7                        the same VM in one process under virtual time",
]
SIM_IMAGE_BYTES = 1 << 20


class DefaultGroup(click.Group):
    """Without a command, or with options only, it is ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """A laboratory for the interrupt path of Linux guests on Hyper-V.

    Without a command, `run`. Exit codes: 0 success, 1 a verification failed, 2 a mistake in the arguments, 3 a process
    of the VM died, 4 the supervisor died, 5 somebody broke the protocol, 6 an interrupt was lost, 7 a device failed,
    70 a bug of the laboratory, 130 Ctrl-C, 143 SIGTERM.
    """


def _disk(context: click.Context, parameter: click.Parameter, value: str | None) -> DiskSpec | None:
    if value is None:
        return None
    path, comma, mode = value.rpartition(",")
    if comma and mode == "rw":
        return DiskSpec(os.path.abspath(path), writable=True)
    return DiskSpec(os.path.abspath(value))


def _output(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A file to be written at the end: that it cannot be is said before anything is started."""
    if value is None:
        return None
    path = Path(value).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise click.BadParameter(f"{path} cannot be written: it is a directory, or in none")
    return str(path)


def vm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that ``run`` and ``sim`` share."""
    options = [
        click.option("--vcpus", type=click.IntRange(1, 64), default=8, show_default=True, help="Virtual processors."),
        click.option(
            "--policy",
            type=click.Choice(["legacy", "rfc"]),
            default="rfc",
            show_default=True,
            help="Interrupt design: before the RFC, or its twelve patches.",
        ),
        click.option(
            "--disk",
            callback=_disk,
            metavar="FILE[,rw]",
            help="Raw image for the SCSI controller; read-only unless `,rw` is said, and then its last MiB is "
            "overwritten. Without it a small image is made for the run.",
        ),
        click.option(
            "--duration", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds; 0: until Ctrl-C."
        ),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of patterns and schedules."),
        click.option("--trace", callback=_output, metavar="FILE", help="Write the journal here."),
        click.option("--json", "json_path", callback=_output, metavar="FILE", help="Write the report."),
        click.option("--name", default="vm", show_default=True, help="Name of the VM."),
        click.option(
            "--max-version",
            type=click.Choice(["2.4", "3.0", "4.0", "4.1", "5.0", "5.1", "5.2", "5.3"]),
            default="5.3",
            show_default=True,
            help="Newest VMBus protocol that the guest asks for.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _spec(options: dict[str, Any]) -> VmSpec:
    disk = options["disk"]
    return VmSpec(
        name=options["name"],
        vcpus=options["vcpus"],
        policy=options["policy"],
        disks=[disk] if disk else [],
        seed=options["seed"],
        max_version=options["max_version"],
        trace=options["trace"],
    )


@cli.command("run")
@vm_options
def run_command(**options: Any) -> None:
    """Run a VM: a supervisor, a host process, and one worker process per vCPU."""
    from lab.vm import VM

    async def body() -> ExitCode:
        stop, interrupted = asyncio.Event(), asyncio.Event()
        task = asyncio.current_task()
        assert task is not None

        def on_interrupt() -> None:
            if options["duration"] or stop.is_set():
                interrupted.set()
                task.cancel()
            stop.set()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            with disk_for(_spec(options), DEFAULT_IMAGE_BYTES) as spec, Console(NEXT_STEPS) as console:
                async with VM(spec) as vm:
                    return await run(vm, RunOptions(options["duration"], options["json_path"]), console, stop)
        except asyncio.CancelledError:
            code = ExitCode.INTERRUPTED if interrupted.is_set() else ExitCode.TERMINATED
            raise VmFailure(code, "interrupted" if code == ExitCode.INTERRUPTED else "terminated") from None

    sys.exit(asyncio.run(body()))


@cli.command("sim")
@vm_options
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Take the decisions of the simulated run whose journal this is, with the same options, instead of the seed's.",
)
def sim_command(**options: Any) -> None:
    """The same VM and workload in one process, under virtual time; equal seeds give equal traces."""
    from lab.simulation.schedule import RecordedSchedule
    from lab.simulation.vm import SimulatedVM
    from protocol.journal import unpack

    replay = options["replay"]
    schedule = RecordedSchedule.of(unpack(Path(replay).read_bytes())) if replay else None

    async def body() -> ExitCode:
        with disk_for(_spec(options), SIM_IMAGE_BYTES) as spec, Console([]) as console:
            async with SimulatedVM(spec, schedule) as vm:
                code = await run(vm, RunOptions(options["duration"], options["json_path"]), console, asyncio.Event())
                click.echo(f"trace hash {vm.trace_hash()} after {vm.hub.decisions} decisions")
                return code

    sys.exit(asyncio.run(body()))


@cli.command("linux")
@click.option("--vcpus", type=click.IntRange(1, 4), default=2, show_default=True, help="Virtual processors.")
@click.option("--disk", callback=_disk, metavar="FILE[,rw]", help="Raw image, /dev/sda in the guest; read-only or not.")
@click.option(
    "--vmbus-version",
    type=click.Choice(["4.0", "4.1", "5.0", "5.1", "5.2", "5.3"]),
    default="5.3",
    show_default=True,
    help="Newest VMBus protocol that the host agrees to.",
)
@click.option("--script", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Run it in the guest.")
@click.option("--keep", is_flag=True, help="A shell on the guest's console before it is switched off.")
@click.option("--trace", callback=_output, metavar="FILE", help="Write the journal here.")
@click.option("--json", "json_path", callback=_output, metavar="FILE", help="Write the report.")
@click.option("--name", default="linux", show_default=True, help="Name of the VM.")
def linux_command(
    vcpus: int,
    disk: DiskSpec | None,
    vmbus_version: str,
    script: str | None,
    keep: bool,
    trace: str | None,
    json_path: str | None,
    name: str,
) -> None:
    """Boot an unmodified Linux kernel as the guest, and compare what it says with what the host says.

    The kernel, busybox and QEMU are fetched as Debian packages at first use and not installed.
    """
    from lab.linux.parts import linux_spec
    from lab.linux.run import IMAGE_BYTES, LinuxOptions, run_linux, say
    from lab.linux.vm import MEMORY_MB
    from protocol.wire.versions import Version

    spec = VmSpec(
        name=name,
        vcpus=vcpus,
        disks=[disk] if disk else [],
        memory_mb=MEMORY_MB,
        trace=trace,
        linux=linux_spec(say),
        host_options={"max_version": int(Version.of(vmbus_version))},
    )
    with disk_for(spec, IMAGE_BYTES) as spec_with_disk:
        sys.exit(asyncio.run(run_linux(spec_with_disk, LinuxOptions(script, keep, json_path))))


@cli.command("diff")
@click.option("--vcpus", type=click.IntRange(1, 4), default=2, show_default=True, help="Virtual processors.")
@click.option("--disk", callback=_disk, metavar="FILE", help="Raw image for the SCSI controller of both.")
@click.option("--name", default="diff", show_default=True, help="Both VMs are named after it.")
def diff_command(vcpus: int, disk: DiskSpec | None, name: str) -> None:
    """Start one VM with the emulated guest and with a real kernel, and compare what they do.

    Every control message, the first packets of every device, the CPUs of the channels, the layout of /proc/interrupts.
    Exit code 1 if they differ in anything that is not known and explained.
    """
    from lab.linux.differential.run import run_diff
    from lab.linux.parts import linux_spec
    from lab.linux.run import IMAGE_BYTES, say
    from lab.linux.vm import MEMORY_MB

    spec = VmSpec(name=name, vcpus=vcpus, disks=[disk] if disk else [], memory_mb=MEMORY_MB, linux=linux_spec(say))
    with disk_for(spec, IMAGE_BYTES) as spec_with_disk:
        sys.exit(asyncio.run(run_diff(spec_with_disk)))


@cli.command("ps")
def ps_command() -> None:
    """The VMs of this user that run now."""
    import time

    from lab import rundir

    for vm in rundir.running():
        click.echo(
            f"{vm.name:16} {vm.vcpus:3} vCPUs  policy {vm.policy:8} up {time.time() - vm.started:6.0f} s  "
            f"supervisor {vm.supervisor}  host {vm.pids['host']}"
        )


@cli.command("cat")
@click.argument("path")
@click.option("--name", help="Which VM, if several are running.")
def cat_command(path: str, name: str | None) -> None:
    """Print a file of the running VM: /proc/interrupts, /proc/stat. Nobody is stopped for it."""
    from lab import rundir
    from lab.memories import Memories
    from lab.views import Views

    click.echo(Views(Memories(rundir.find(name)).guest()).cat(path), nl=False)


@cli.command("trace")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--who", help="Only what this participant wrote: host, cpu0, cpu1, ...")
@click.option("--event", help="Only events of this kind.")
@click.option("--message", is_flag=True, help="Only control messages.")
def trace_command(file: str, who: str | None, event: str | None, message: bool) -> None:
    """Print a journal, one line an event: time in seconds, who, what, with the fields of messages."""
    from lab.trace import lines

    for line in lines(Path(file).read_bytes(), who, event, message):
        click.echo(line)


@cli.command("bench")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True, help="Interleaved rounds.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), metavar="FILE", help="Write the figures here.")
def bench_command(rounds: int, json_path: str | None) -> None:
    """Measure, as ratios in one run: round trips, rings, the IRQ layer."""
    from bench.main import bench

    sys.exit(bench(rounds, json_path))


def main() -> None:
    """Entry point. Errors are one line; a traceback is a bug."""
    try:
        cli.main(standalone_mode=False, prog_name="./launch.sh")
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(ExitCode.OPERATOR, error.format_message())
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except OperatorError as error:
        _fail(error.exit_code, str(error))
    except VmFailure as failure:
        _fail(failure.code, str(failure))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.SUCCESS)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _fail(code: ExitCode, line: str) -> None:
    print(f"vmbus-lab: {line}", file=sys.stderr)
    sys.exit(code)
