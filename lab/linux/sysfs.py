"""What a real guest says of itself: its /sys/bus/vmbus, its log, its clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from uuid import UUID

from lab.linux.vm import LinuxVm
from protocol.ids import Relid
from protocol.wire.guids import UNSUPPORTED, device_type

LIST_DEVICES = """
cd /sys/bus/vmbus/devices
for device in *; do
    driver=$(readlink $device/driver)
    echo "$device $(cat $device/id $device/class_id | tr '\\n' ' ') ${driver##*/}"
    for channel in $device/channels/*; do
        echo "channel ${channel##*/} $(cat $channel/cpu $channel/interrupts $channel/events | tr '\\n' ' ')"
    done
done
"""
TROUBLE = re.compile(r"WARNING:|BUG:|Oops:|Call Trace:|hv_\w+: .*(failed|error|timed out)")


@dataclass(frozen=True, slots=True)
class GuestChannel:
    """A directory of ``channels/``: target CPU, interrupts taken, doorbells rung."""

    relid: Relid
    cpu: int
    interrupts: int
    events: int


@dataclass(slots=True)
class GuestDevice:
    """A device of the guest's VMBus; ``driver`` is empty if none is bound."""

    instance_id: UUID
    relid: Relid
    class_id: UUID
    driver: str
    channels: list[GuestChannel] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What kind of device it is, in the kernel's words."""
        if self.class_id in UNSUPPORTED:
            return "(Windows only)"
        return device_type(self.class_id).irq_name or "unknown"


async def devices(vm: LinuxVm) -> list[GuestDevice]:
    """The guest's devices, by relid."""
    found: list[GuestDevice] = []
    for line in (await vm.run(LIST_DEVICES)).splitlines():
        first, *words = line.split()
        if first == "channel":
            relid, cpu, interrupts, events = map(int, words)
            found[-1].channels.append(GuestChannel(Relid(relid), cpu, interrupts, events))
        else:
            driver = words[2] if len(words) > 2 else ""
            found.append(GuestDevice(UUID(first), Relid(int(words[0])), UUID(words[1]), driver))
    return sorted(found, key=lambda device: device.relid)


async def negotiated_version(vm: LinuxVm) -> str:
    """The protocol version that the guest's driver logged last; empty if it has not connected."""
    versions: list[str] = re.findall(r"Vmbus version:(\d+\.\d+)", await vm.run("dmesg"))
    return versions[-1] if versions else ""


async def troubles(vm: LinuxVm) -> list[str]:
    """Lines of the guest's log that should not be there."""
    return [line for line in (await vm.run("dmesg")).splitlines() if TROUBLE.search(line)]


async def wait_for(vm: LinuxVm, condition: str, seconds: int = 20) -> bool:
    """Wait in the guest until a shell condition holds. False if it does not in time."""
    loop = f"n=0; until {condition}; do n=$((n+1)); [ $n -lt {seconds * 50} ] || exit 1; usleep 20000; done"
    return (await vm.attempt(loop, seconds * 3)).status == 0


async def disk(vm: LinuxVm, lun: int) -> str:
    """The device of a unit on the SCSI controller. Linux probes disks at the same time: sda may be any of them."""
    block = f"/sys/class/scsi_device/*:0:0:{lun}/device/block"
    if not await wait_for(vm, f"[ -b /dev/$(ls {block}) ]"):
        raise LookupError(f"the guest has found no disk at LUN {lun}")
    return f"/dev/{(await vm.run(f'ls {block}')).strip()}"


async def disk_behind(vm: LinuxVm, controller: UUID, lun: int) -> str:
    """The device of a unit on one of several controllers. Which of them is probed first is open."""
    block = f"/sys/bus/vmbus/devices/{controller}/host*/target*:0:0/*:0:0:{lun}/block"
    if not await wait_for(vm, f"[ -b /dev/$(ls {block}) ]"):
        raise LookupError(f"the guest has found no disk at LUN {lun} of {controller}")
    return f"/dev/{(await vm.run(f'ls {block}')).strip()}"


async def interface_behind(vm: LinuxVm, nic: UUID) -> str:
    """The name of the network interface of a NIC."""
    net = f"/sys/bus/vmbus/devices/{nic}/net"
    if not await wait_for(vm, f"[ -d {net} ]"):
        raise LookupError(f"the guest has made no interface of {nic}")
    return (await vm.run(f"ls {net}")).strip()
