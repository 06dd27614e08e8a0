"""VM files: the description of a VM in TOML. A mistake is one line that names the key and says what is allowed."""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from host.catalogue import KINDS
from host.machine import DeviceSpec
from host.plain import STRICT, parse
from host.vmbus.options import HostOptions
from lab import presets
from lab.spec import MAX_VCPUS, TIME_SCALES, GuestVersion, VmSpec
from protocol.errors import OperatorError

CpuNumber = Annotated[int, Field(ge=0, lt=MAX_VCPUS)]


@dataclass(frozen=True, slots=True, config=STRICT)
class GuestOptions:
    """Module parameters, and the command line of the emulated kernel."""

    max_version: GuestVersion = "5.3"
    isolated: list[CpuNumber] = field(default_factory=list)


@dataclass(frozen=True, slots=True, config=STRICT)
class VmFile:
    """The keys of a VM file. What stands in a ``[[device]]`` besides kind, name and relid are the kind's options."""

    vcpus: Annotated[int, Field(ge=1, le=MAX_VCPUS)] = 8
    generation: Literal[1, 2] = 2
    policy: Literal["legacy", "rfc"] = "rfc"
    memory_mb: Annotated[int, Field(ge=4, le=4096)] = 64
    time_scale: Annotated[float, Field(ge=TIME_SCALES[0], le=TIME_SCALES[1])] = 1.0
    numa: list[list[CpuNumber]] = field(default_factory=list)
    sub_channel_order: list[str] = field(default_factory=list)
    guest: GuestOptions = field(default_factory=GuestOptions)
    host: dict[str, Any] = field(default_factory=dict)
    device: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Heading:
    """What every device has. The name is by default the kind."""

    kind: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_@-]{0,31}$")] | None = None
    relid: Annotated[int, Field(ge=1, le=2047)] | None = None


def load(name_or_path: str) -> VmSpec:
    """A preset by name, or a file. Raises OperatorError."""
    if name_or_path in presets.names():
        return of(presets.text(name_or_path), name_or_path)
    try:
        text = Path(name_or_path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        known = ", ".join(presets.names())
        raise OperatorError(f"cannot read the VM file {name_or_path}: {reason}; presets are {known}") from None
    return of(text, name_or_path)


def of(text: str, where: str) -> VmSpec:
    """The VM that ``text`` describes. Raises OperatorError, beginning with ``where``."""
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{where}: {error}") from None
    file = parse(VmFile, plain, where)
    _check_cpus(file, where)
    parse(HostOptions, file.host, f"{where}, host")
    devices = [_device(entry, f"{where}, device {number}") for number, entry in enumerate(file.device, 1)]
    _check_names(file, devices, where)
    return VmSpec(
        vcpus=file.vcpus,
        generation=file.generation,
        policy=file.policy,
        memory_mb=file.memory_mb,
        time_scale=file.time_scale,
        max_version=file.guest.max_version,
        devices=devices,
        sub_channel_order=file.sub_channel_order,
        numa=file.numa,
        isolated=file.guest.isolated,
        host_options=file.host,
    )


def _device(entry: dict[str, Any], where: str) -> DeviceSpec:
    heading = parse(Heading, {key: entry[key] for key in ("kind", "name", "relid") if key in entry}, where)
    if heading.kind not in KINDS:
        raise OperatorError(f"{where}: kind: there is no '{heading.kind}'; there are {', '.join(KINDS)}")
    options = {key: value for key, value in entry.items() if key not in ("kind", "name", "relid")}
    parse(KINDS[heading.kind].options, options, f"{where} ({heading.kind})")
    return DeviceSpec(heading.kind, heading.name or heading.kind, heading.relid, options)


def _check_cpus(file: VmFile, where: str) -> None:
    """Every CPU is in one node, and there is none besides."""
    for key, cpus in (("guest.isolated", file.guest.isolated), *(("numa", node) for node in file.numa)):
        for cpu in cpus:
            if cpu >= file.vcpus:
                raise OperatorError(f"{where}: {key}: there is no CPU {cpu}; there are 0 to {file.vcpus - 1}")
    if file.numa and sorted(cpu for node in file.numa for cpu in node) != list(range(file.vcpus)):
        raise OperatorError(f"{where}: numa: each of the CPUs 0 to {file.vcpus - 1} belongs to exactly one node")


def _check_names(file: VmFile, devices: list[DeviceSpec], where: str) -> None:
    """Names and relids are given once, and the order of sub-channels speaks of devices."""
    for key, values in (
        ("name", [device.name for device in devices]),
        ("relid", [device.relid for device in devices if device.relid is not None]),
    ):
        twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
        if twice is not None:
            raise OperatorError(f"{where}: two devices have the {key} {twice}; give each its own")
    names = [device.name for device in devices]
    for name in file.sub_channel_order:
        if name not in names:
            raise OperatorError(
                f"{where}: sub_channel_order: no device is called '{name}'; there are {', '.join(names) or 'none'}"
            )
