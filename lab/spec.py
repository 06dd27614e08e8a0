"""The description of a VM: everything that a run depends on, as plain data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from host.machine import DeviceSpec

MAX_VCPUS: Final = 64
MAX_SEED: Final = 2**32 - 1
TIME_SCALES: Final = (1e-3, 1e3)
"""Of real processes: a heartbeat every 2 ms is as much as they keep up with."""
GuestVersion = Literal["2.4", "3.0", "4.0", "4.1", "5.0", "5.1", "5.2", "5.3"]
"""The newest VMBus protocol that a guest asks for: what Linux knows (``vmbus_versions`` of connection.c)."""
SMALL = (
    DeviceSpec("heartbeat", "heartbeat", 7),
    DeviceSpec("shutdown", "shutdown", 9),
    DeviceSpec("timesync", "timesync", 10),
    DeviceSpec("unsupported", "avma", 12),
    DeviceSpec("storvsc", "storvsc", 14),
)
"""The least that does something: three services, a device that Linux does not want, and a SCSI controller."""


@dataclass(slots=True)
class DiskSpec:
    """A disk image on the SCSI controller."""

    path: str
    writable: bool = False


@dataclass(slots=True)
class LinuxSpec:
    """What a real Linux guest is booted from: paths, and QEMU with what it needs in its environment."""

    kernel: str
    initramfs: str
    command_line: str
    rom: str
    qemu: str
    environment: dict[str, str]


@dataclass(slots=True)
class VmSpec:
    """A VM. ``time_scale`` divides the periods of devices (heartbeat, time samples), never protocol time-outs."""

    name: str = "vm"
    vcpus: int = 8
    generation: int = 2
    """Of the machine: the first has a PIC."""
    policy: str = "rfc"
    disks: list[DiskSpec] = field(default_factory=list)
    """On the first SCSI controller."""
    memory_mb: int = 64
    seed: int = 0
    max_version: GuestVersion = "5.3"
    time_scale: float = 1.0
    trace: str | None = None
    trace_events: list[str] = field(default_factory=list)
    """Kinds of events that the journal is kept to; all, if it names none."""
    image_bytes: int = 0
    """Of each image that was made for this run, because a SCSI controller came without a disk."""
    linux: LinuxSpec | None = None
    """A real kernel as the guest, instead of the vCPU workers."""
    devices: list[DeviceSpec] = field(default_factory=lambda: list(SMALL))
    """In the order in which they are offered."""
    sub_channel_order: list[str] = field(default_factory=list)
    """Devices whose sub-channels the host offers in this order."""
    numa: list[list[int]] = field(default_factory=list)
    """The CPUs of each NUMA node; without any, one node."""
    isolated: list[int] = field(default_factory=list)
    """``isolcpus=managed_irq,...``"""
    drivers: list[str] = field(default_factory=list)
    """Files with drivers from outside the tree, which are asked before the tree's own."""
    device_files: list[str] = field(default_factory=list)
    """Files with devices from outside the tree, which are offered after ``devices``."""
    host_options: dict[str, Any] = field(default_factory=dict)
    """Named behaviours of the VMBus server, see ``host.vmbus.options``."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> VmSpec:
        plain = json.loads(text)
        plain["disks"] = [DiskSpec(**disk) for disk in plain["disks"]]
        plain["devices"] = [DeviceSpec(**device) for device in plain["devices"]]
        if plain["linux"] is not None:
            plain["linux"] = LinuxSpec(**plain["linux"])
        return cls(**plain)
