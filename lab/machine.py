"""From the description of a VM to what its host has to know."""

from host.machine import Disk, MachineSpec
from host.vmbus.options import HostOptions
from lab.spec import VmSpec


def machine_spec(spec: VmSpec) -> MachineSpec:
    """The host's part of a VM."""
    disks = tuple(Disk(disk.path, disk.writable) for disk in spec.disks)
    return MachineSpec(spec.vcpus, disks, HostOptions(**spec.host_options), spec.time_scale)
