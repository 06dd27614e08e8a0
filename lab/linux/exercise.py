"""What a boot has the guest do with its devices, and whether it worked: disk, network, balloon."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from ipaddress import ip_interface
from typing import Final

from host.machine import DeviceSpec, instance_of
from lab.linux import sysfs
from lab.linux.vm import LinuxVm
from lab.report import Check

PREFIX: Final = 24
"""Bits of the network on which guest and echo are."""
PINGS: Final = 5
BALLOON: Final = "/lib/modules/hv_balloon.ko"
"""Loaded here and not at boot: it cannot be removed again, and would keep the bus there."""


async def exercise(vm: LinuxVm) -> list[Check]:
    """Everything that the VM has, one after the other."""
    return [check async for check in _checks(vm)]


async def _checks(vm: LinuxVm) -> AsyncIterator[Check]:
    for device in vm.spec.devices:
        match device.kind:
            case "storvsc" if device is _system_controller(vm):
                yield await _read_disk(vm, device)
            case "netvsc" if device.options.get("ips"):
                yield await _ping(vm, device)
            case "balloon":
                await vm.run(f"insmod {BALLOON}")


def _system_controller(vm: LinuxVm) -> DeviceSpec | None:
    """The disks that the VM was started with are on the first."""
    return next((device for device in vm.spec.devices if device.kind == "storvsc"), None)


async def _read_disk(vm: LinuxVm, device: DeviceSpec) -> Check:
    path = vm.spec.disks[0].path
    file = await asyncio.to_thread(_sha256, path)
    disk = await sysfs.disk_behind(vm, instance_of(device.name), 0)
    read = (await vm.attempt(f"sha256sum {disk}")).output.partition(" ")[0]
    return Check("SHA-256 of the disk", "guest", read, "image file", file, highlight=True)


async def _ping(vm: LinuxVm, device: DeviceSpec) -> Check:
    """The guest takes the address after the echo's. Fragments too: 4,000 bytes do not fit into a frame."""
    echo = ip_interface(f"{device.options['ips'][0]}/{PREFIX}")
    nic = await sysfs.interface_behind(vm, instance_of(device.name))
    await vm.run(f"ip address add {echo.ip + 1}/{PREFIX} dev {nic}; ip link set {nic} up")
    answers = (await vm.attempt(f"ping -c {PINGS} -i 0.1 -s 4000 {echo.ip}")).output.count(" bytes from ")
    return Check(f"{nic} and the echo", "guest's pings", PINGS, "answers", answers, highlight=True)


def _sha256(path: str) -> str:
    with open(path, "rb") as image:
        return hashlib.file_digest(image, "sha256").hexdigest()
