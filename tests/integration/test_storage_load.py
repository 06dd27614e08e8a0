"""Disks under load in real processes, while their controllers and channels come, move and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import uuid5

from guest.programs.storage_load import StorageLoadCpuWords, StorageLoadWords
from host.machine import INSTANCES, DeviceSpec
from lab.load_checks import load_checks
from lab.spec import VmSpec
from lab.vm import VM
from tests.integration.machine import make_image, nothing_left

SECONDS = 60
LOOK = 0.02


class LoadedVm(VM):
    """A VM whose CPUs all use two disks of two controllers: one is written, one only read."""

    def total(self, name: str) -> int:
        return sum(getattr(cpu, name) for cpu in self.memory.find(StorageLoadCpuWords))

    @property
    def done(self) -> int:
        return self.total("reads") + self.total("writes")

    async def until(self, condition: Callable[[], bool]) -> None:
        words = self.memory.find(StorageLoadWords)[0]
        while not condition():
            assert not words.failed, words.error
            await self.pass_time(LOOK)

    async def until_done(self, more: int) -> None:
        goal = self.done + more
        await self.until(lambda: self.done >= goal)

    async def move_all(self, step: int) -> None:
        for relid, words in list(self.guest.opened()):
            target = (relid + step) % self.spec.vcpus
            await self.files.write(f"/proc/irq/{words.irq}/smp_affinity_list", f"{target}\n".encode())


def controller(name: str, image: Path, writable: bool, sub_channels: int) -> DeviceSpec:
    disks = [{"path": str(image), "writable": writable}]
    return DeviceSpec("storvsc", name, options={"disks": disks, "sub_channels": sub_channels})


def identity(name: str) -> str:
    """What the load calls the first disk of a controller."""
    return f"{uuid5(INSTANCES, name)}/0"


async def test_a_load_outlives_removals_moves_and_returns_and_the_images_hold_what_it_says(tmp_path: Path) -> None:
    written, read = tmp_path / "written.img", tmp_path / "read.img"
    make_image(written, 1 << 20)
    untouched = make_image(read, 1 << 20, seed=2)
    devices = [controller("data", written, True, 2), controller("system", read, False, 1)]
    async with asyncio.timeout(SECONDS), LoadedVm(VmSpec("storage-load", vcpus=3, devices=devices)) as vm:
        await vm.settled()
        await vm.start_program("storage_load", disks=["sda", "sdb"], seed=5)
        await vm.until_done(200)
        for step in range(6):
            await vm.move_all(step)
            await vm.until_done(50)
        for name in ("data", "system"):
            await vm.operate("rescind", name=name)
            await vm.until(lambda: vm.total("waiting") > 0)
            await vm.operate("offer", name=name)
            await vm.until(lambda: vm.total("waiting") == 0)
            await vm.until_done(100)
        await vm.operate("act", name="data", action="detach", lun=0)
        await vm.until(lambda: vm.total("waiting") > 0)
        await vm.operate("act", name="data", action="attach", lun=0, path=str(written), writable=True)
        await vm.until(lambda: vm.total("waiting") == 0)
        await vm.until_done(100)
        await vm.stop_program("storage_load")
        words = vm.memory.find(StorageLoadWords)[0]
        await vm.until(lambda: bool(words.finished))
        checks = load_checks(vm.memory, {identity("data"): written, identity("system"): read})
        assert all(check.holds and check.left_value > 20 for check in checks), checks
        assert vm.total("interrupted") > 0
        report = await vm.report()
        assert not report.failed, "\n".join(map(str, report.failed))
    assert read.read_bytes() == untouched
    nothing_left()
