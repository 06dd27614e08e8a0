"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import click

from guest.linux import layout
from lab import presets, vm_file
from lab.linux.vm import MEMORY_MB
from lab.spec import MAX_SEED, MAX_VCPUS, TIME_SCALES, DiskSpec, GuestVersion, LinuxSpec, VmSpec
from protocol.errors import OperatorError

DEFAULT_VM: Final = "letter"
DEFAULT_LINUX_VCPUS: Final = 2


def disk(context: click.Context, parameter: click.Parameter, value: str | None) -> DiskSpec | None:
    if value is None:
        return None
    path, comma, mode = value.rpartition(",")
    if comma and mode == "rw":
        return DiskSpec(os.path.abspath(path), writable=True)
    return DiskSpec(os.path.abspath(value))


def output(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A file to be written at the end: that it cannot be is said before anything is started."""
    if value is None:
        return None
    path = Path(value).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise click.BadParameter(f"{path} cannot be written: it is a directory, or in none")
    return str(path)


class Number(click.FloatRange):
    """A range of numbers, of which neither "inf" nor "nan" is one."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"'{value}' is no number.", parameter, context)
        return number


vm = click.option(
    "--vm",
    default=DEFAULT_VM,
    show_default=True,
    metavar="NAME|FILE",
    help=f"What the VM is made of: {', '.join(presets.names())}, or a VM file. The options below override it.",
)


def vm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that ``run`` and ``sim`` share."""
    options = [
        vm,
        click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), help="Virtual processors."),
        click.option(
            "--policy",
            type=click.Choice(["legacy", "rfc"]),
            help="Interrupt design: before the RFC, or its twelve patches.",
        ),
        click.option(
            "--disk",
            callback=disk,
            metavar="FILE[,rw]",
            help="Raw image for the SCSI controller; read-only unless `,rw` is said, and then its last MiB is "
            "overwritten. Without it a small image is made for the run.",
        ),
        click.option("--duration", type=Number(0), default=10.0, show_default=True, help="Seconds; 0: until Ctrl-C."),
        click.option(
            "--seed", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="Of patterns and schedules."
        ),
        click.option("--trace", callback=output, metavar="FILE", help="Write the journal here."),
        click.option("--json", "json_path", callback=output, metavar="FILE", help="Write the report."),
        click.option("--name", default="vm", show_default=True, help="Name of the VM."),
        click.option(
            "--time-scale",
            type=Number(*TIME_SCALES),
            help="Divides the periods of devices, no time-outs.",
        ),
        click.option(
            "--max-version",
            type=click.Choice(get_args(GuestVersion)),
            help="Newest VMBus protocol that the guest asks for.",
        ),
        click.option(
            "--driver",
            "drivers",
            multiple=True,
            metavar="FILE",
            help="Load a guest driver of yours from a Python file; it is asked before those of the tree. Repeatable.",
        ),
        click.option(
            "--device",
            "device_files",
            multiple=True,
            metavar="FILE",
            help="Offer a device of yours, from a Python file. Repeatable.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def vm_spec(options: dict[str, Any]) -> VmSpec:
    """The VM that ``--vm`` names, with what other options say. Raises OperatorError."""
    spec = vm_file.load(options["vm"])
    given = {key: options.get(key) for key in ("vcpus", "policy", "max_version", "time_scale", "seed", "trace")}
    if spec.numa and given["vcpus"]:
        raise OperatorError(f"--vcpus: the NUMA nodes of {options['vm']} name its CPUs: change the file instead")
    image = options["disk"]
    return replace(
        spec,
        name=options["name"],
        disks=[image] if image else [],
        **{key: value for key, value in given.items() if value is not None},
        drivers=list(options.get("drivers", ())),
        device_files=list(options.get("device_files", ())),
    )


def linux_vm_spec(options: dict[str, Any], linux: LinuxSpec) -> VmSpec:
    """The same for a real kernel, which needs more memory, and gets two vCPUs unless somebody says otherwise."""
    spec = vm_spec(options)
    vcpus = spec.vcpus if options["vcpus"] or spec.numa else DEFAULT_LINUX_VCPUS
    if vcpus > layout.MAX_VCPUS:
        raise OperatorError(
            f"a real guest has 1 to {layout.MAX_VCPUS} vCPUs, and {options['vm']} has {vcpus}: say --vcpus"
        )
    return replace(spec, vcpus=vcpus, memory_mb=MEMORY_MB, linux=linux)
