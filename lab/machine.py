"""From the description of a VM to what its host and its guest have to know."""

from dataclasses import dataclass
from typing import Any, Self

from guest.machine import GuestSpec
from guest.vmbus.device import HvDriver
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from host.machine import DeviceSpec, MachineSpec
from host.plain import parse
from host.vmbus.options import HostOptions
from host.vsp.kind import Kind
from lab.image import devices_of
from lab.outside.devices import load_devices
from lab.outside.drivers import load_drivers
from lab.spec import VmSpec
from protocol.errors import OperatorError
from protocol.wire.versions import Version


@dataclass(frozen=True, slots=True)
class Outside:
    """What a VM brings along: classes, loaded once, before anything is started and before any fork."""

    drivers: tuple[type[HvDriver], ...]
    devices: dict[str, tuple[DeviceSpec, Kind[Any, Any]]]

    @classmethod
    def of(cls, spec: VmSpec) -> Self:
        """Raises OperatorError: one line, with file and line."""
        return cls(load_drivers(spec.drivers), load_devices(spec.device_files, (each.name for each in spec.devices)))


def machine_spec(spec: VmSpec, outside: Outside) -> MachineSpec:
    """The host's part of a VM. Raises OperatorError."""
    return MachineSpec(
        spec.vcpus,
        (*devices_of(spec), *(device for device, _ in outside.devices.values())),
        tuple(spec.sub_channel_order),
        parse(HostOptions, spec.host_options, "host"),
        spec.time_scale,
        {device.kind: kind for device, kind in outside.devices.values()},
    )


def guest_spec(spec: VmSpec, outside: Outside) -> GuestSpec:
    """The guest's part of a VM. Raises OperatorError if it could not talk to its host."""
    newest = parse(HostOptions, spec.host_options, "host").max_version
    if newest < Version.WIN8:
        raise OperatorError(
            f"host: max_version: a guest asks for {Version.WIN8.text} at least, so it has no bus at {newest.text}"
        )
    return GuestSpec(
        Policy(spec.policy),
        topology(spec),
        Version.of(spec.max_version),
        legacy_pic=spec.generation == 1,
        modules=outside.drivers,
    )


def topology(spec: VmSpec) -> Topology:
    """NUMA nodes as masks; without any, one node. Isolated CPUs are no housekeeping CPUs."""
    every = (1 << spec.vcpus) - 1
    nodes = tuple(_mask(node) for node in spec.numa) or (every,)
    return Topology(nodes, every & ~_mask(spec.isolated))


def _mask(cpus: list[int]) -> int:
    return sum(1 << cpu for cpu in cpus)
