"""What an unmodified kernel makes of controllers with sub-channels, and of disks that are plugged in and pulled out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import uuid5

from host.machine import INSTANCES, DeviceSpec
from lab.linux import sysfs
from lab.linux.report import make_report
from lab.linux.sysfs import GuestDevice
from lab.linux.vm import LinuxVm
from tests.linux_guest.conftest import Boot

VCPUS = 4
SERVICES = [DeviceSpec(kind, kind) for kind in ("heartbeat", "shutdown", "timesync")]
"""The report wants to hear of them."""


def controller(name: str, image: Path, sub_channels: int, writable: bool = False) -> DeviceSpec:
    disks = [{"path": str(image), "writable": writable}]
    return DeviceSpec("storvsc", name, options={"disks": disks, "sub_channels": sub_channels})


async def guest_device(vm: LinuxVm, name: str) -> GuestDevice:
    """The guest's device for a controller of the host."""
    (found,) = [each for each in await sysfs.devices(vm) if each.instance_id == uuid5(INSTANCES, name)]
    return found


async def disk(vm: LinuxVm, name: str, lun: int = 0) -> str:
    """The block device of a disk."""
    block = f"/sys/bus/vmbus/devices/{uuid5(INSTANCES, name)}/host*/target*/*:{lun}/block"
    assert await sysfs.wait_for(vm, f"[ -b /dev/$(ls {block} 2>/dev/null) ]")
    return f"/dev/{(await vm.run(f'ls {block}')).strip()}"


async def read_everywhere(vm: LinuxVm, device: str) -> None:
    """Read from each CPU, past the cache."""
    for cpu in range(VCPUS):
        await vm.run(f"taskset {1 << cpu:x} dd if={device} of=/dev/null bs=64k count=32 iflag=direct 2>/dev/null")


async def test_linux_opens_the_sub_channels_it_is_granted_and_gets_answers_on_all(
    boot: Boot, images: tuple[Path, Path]
) -> None:
    """``num_sc`` is the smaller of what the host announces and the other CPUs; each channel on a CPU of its own."""
    digest = hashlib.sha256(images[0].read_bytes()).hexdigest()
    controllers = [controller("wide", images[0], 63), controller("narrow", images[1], 1, writable=True)]
    async with boot(vcpus=VCPUS, devices=[*SERVICES, *controllers]) as vm:
        device = await disk(vm, "wide")
        for name, channels in (("wide", VCPUS), ("narrow", 2)):
            assert await sysfs.wait_for(
                vm, f"[ $(ls /sys/bus/vmbus/devices/{uuid5(INSTANCES, name)}/channels | wc -l) = {channels} ]"
            )
        await read_everywhere(vm, device)
        wide = await guest_device(vm, "wide")
        assert sorted(channel.cpu for channel in wide.channels) == list(range(VCPUS))
        assert all(channel.interrupts for channel in wide.channels)
        assert (await vm.run(f"sha256sum {device}")).split()[0] == digest
        assert [str(check) for check in (await make_report(vm)).failed] == []
        assert await sysfs.troubles(vm) == []


async def test_a_controller_with_sub_channels_goes_and_comes_back(boot: Boot, images: tuple[Path, Path]) -> None:
    """CREATE_SUB_CHANNELS once more after the re-offer, since they were rescinded with their primary."""
    digest = hashlib.sha256(images[0].read_bytes()).hexdigest()
    async with boot(vcpus=VCPUS, devices=[controller("data", images[0], 2)]) as vm:
        path = f"/sys/bus/vmbus/devices/{uuid5(INSTANCES, 'data')}"
        for _ in range(5):
            device = await disk(vm, "data")
            assert await sysfs.wait_for(vm, f"[ $(ls {path}/channels | wc -l) = 3 ]")
            await read_everywhere(vm, device)
            assert (await vm.run(f"sha256sum {device}")).split()[0] == digest
            await vm.host("rescind", name="data")
            assert await sysfs.wait_for(vm, f"! [ -e {path} ]")
            await vm.host("offer", name="data")


async def test_a_disk_is_plugged_in_and_pulled_out(boot: Boot, images: tuple[Path, Path]) -> None:
    """ENUMERATE_BUS and REMOVE_DEVICE make ``storvsc_host_scan`` look at all units."""
    digest = hashlib.sha256(images[1].read_bytes()).hexdigest()
    async with boot(vcpus=2, devices=[controller("data", images[0], 0)]) as vm:
        first = await disk(vm, "data")
        for _ in range(3):
            await vm.host("act", name="data", action="attach", lun=5, path=str(images[1]), writable=False)
            second = await disk(vm, "data", 5)
            assert second != first
            assert (await vm.run(f"sha256sum {second}")).split()[0] == digest
            await vm.host("act", name="data", action="detach", lun=5)
            assert await sysfs.wait_for(vm, f"! [ -b {second} ]")
        await vm.run(f"dd if={first} of=/dev/null bs=64k iflag=direct 2>/dev/null")
