"""A CPU is emptied of channels, goes offline, comes back and gets them back, while the others read a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.drivers.storvsc.driver import Storvsc
from host.machine import DeviceSpec
from lab.image import disk_for
from lab.simulation.vm import SimulatedVM
from lab.spec import SMALL, VmSpec

IMAGE_BYTES = 64 << 10
BLOCK = 4096
CPUS, GUEST_OF = 3, 1
"""CPU 1 comes and goes."""
ROUNDS = 4
SEEDS = 5

DEVICES = [
    *SMALL[:-1],
    DeviceSpec("storvsc", "storvsc", 14, {"sub_channels": 2}),
    DeviceSpec("netvsc", "netvsc", 16),
]


class LoadedVM(SimulatedVM):
    """``reads``: blocks read and found right by CPUs 0 and 2, which go on until ``stopped``."""

    stopped = False
    reads = 0
    readers = 0

    def read_on(self, cpu: int, content: bytes) -> None:
        """Have a CPU read block by block, round and round."""
        core = self.cpus[cpu].core
        driver = next(d for d in self.cpus[cpu].guest.system.bus.drivers if isinstance(d, Storvsc))

        async def read() -> None:
            disk = driver.disks.find("sda")
            page = core.pages.allocate()
            at = 0
            while not self.stopped:
                await disk.read(at // disk.words.block_size, BLOCK // disk.words.block_size, page)
                assert bytes(core.ram.page(page)) == content[at : at + BLOCK]
                self.reads += 1
                at = (at + BLOCK) % IMAGE_BYTES
            self.readers -= 1

        self.readers += 1
        self.cpus[cpu].enter(lambda: self.cpus[cpu].spawn(read(), "reader"))

    def read_on_a_while(self) -> None:
        """The readers get on."""
        enough = self.reads + 12
        self.until(lambda: self.reads >= enough, "reading the disk", seconds=30)

    async def move(self, relid: int, cpu: int) -> None:
        """``echo CPU > .../channels/RELID/cpu``"""
        channel = self.cpus[0].guest.system.bus.channels[relid]
        await self.files.write(f"/sys/bus/vmbus/devices/{channel.device.name}/channels/{relid}/cpu", b"%d" % cpu)


async def come_and_go(seed: int, policy: str) -> None:
    spec = VmSpec(vcpus=CPUS, seed=seed, policy=policy, memory_mb=16, time_scale=2000, devices=list(DEVICES))
    with disk_for(spec, IMAGE_BYTES) as spec:
        content = Path(spec.disks[0].path).read_bytes()
        async with LoadedVM(spec) as vm:
            await vm.settled()
            visitors = [relid for relid, words in vm.guest.opened() if words.target_cpu == GUEST_OF]
            assert visitors, "channels of fast devices are there"
            for cpu in (0, 2):
                vm.read_on(cpu, content)
            for _ in range(ROUNDS):
                for number, relid in enumerate(visitors):
                    await vm.move(relid, 2 * (number % 2))
                await vm.files.write("/sys/devices/system/cpu/cpu1/online", b"0")
                vm.read_on_a_while()
                await vm.files.write("/sys/devices/system/cpu/cpu1/online", b"1")
                for relid in visitors:
                    await vm.move(relid, GUEST_OF)
                vm.read_on_a_while()
            vm.stopped = True
            vm.until(lambda: not vm.readers, "the end of the readers")
            report = await vm.report()
            dropped = sum(cpu.dropped_in_progress for cpu in vm.guest.irq.cpu_stat)
            assert sum(check.left_value - check.right_value for check in report.failed) == dropped, report.failed


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_the_disk_is_read_right_by_the_others_and_no_count_is_missing(policy: str) -> None:
    for seed in range(SEEDS):
        await come_and_go(seed, policy)
