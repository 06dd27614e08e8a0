"""A simulated VM with two SCSI controllers under load, one of them with sub-channels and a disk that is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from guest.drivers.storvsc.words import StorChannelWords, StorvscDevice
from guest.irq.affinity import irq_set_affinity
from guest.kernel.memory import Table
from guest.programs.load_content import LoadDiskWords
from guest.programs.storage_load import StorageLoadCpuWords, StorageLoadWords
from guest.vmbus.words import ChannelState, ChannelWords
from host.machine import DeviceSpec
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.ids import Irq, Relid

IMAGE_BYTES = 96 << 10
SIZE = 2048


class LoadedVm(SimulatedVM):
    """``storvsc1`` has sub-channels and a writable disk; ``storvsc2`` has one channel and a disk that is only read."""

    def __init__(self, seed: int, directory: Path, policy: str = "rfc", vcpus: int = 3, sub_channels: int = 2) -> None:
        self.images = {name: directory / f"{name}-{seed}.img" for name in ("storvsc1", "storvsc2")}
        for number, image in enumerate(self.images.values()):
            image.write_bytes(bytes((seed + number + at // 512) % 251 for at in range(IMAGE_BYTES)))
        devices = [
            DeviceSpec(
                "storvsc",
                name,
                options={
                    "disks": [{"path": str(self.images[name]), "writable": name == "storvsc1"}],
                    "sub_channels": sub_channels if name == "storvsc1" else 0,
                },
            )
            for name in self.images
        ]
        super().__init__(VmSpec(vcpus=vcpus, seed=seed, policy=policy, memory_mb=8, devices=devices))

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.load = self.memory.find(StorageLoadWords)[0]
        self.load_cpus = self.memory.find(StorageLoadCpuWords)
        self.layouts = self.memory.find(LoadDiskWords)
        self.scsi_hosts: Table[StorvscDevice] = self.memory.find(StorvscDevice)
        return self

    def total(self, name: str) -> int:
        return sum(getattr(cpu, name) for cpu in self.load_cpus)

    @property
    def done(self) -> int:
        """Requests that have ended well."""
        return self.total("reads") + self.total("writes")

    async def loaded(self, depth: int = 2) -> None:
        """Every CPU uses both disks."""
        await self.settled()
        await self.start_program("storage_load", disks=["sda", "sdb"], seed=self.spec.seed, depth=depth, size=SIZE)

    def until_done(self, more: int) -> None:
        """Until the guest has carried out so many requests more."""
        goal = self.done + more
        self.until(lambda: self.done >= goal or bool(self.load.finished), f"{more} more requests")

    async def unloaded(self) -> None:
        """The load ends, and everything that it wrote is in the image and nothing else."""
        await self.stop_program("storage_load")
        self.until(lambda: bool(self.load.finished), "the end of the load")
        assert not self.load.failed, self.load.error
        assert self.total("failed") == 0
        for layout in list(self.layouts)[: self.load.disks]:
            if layout.writes:
                self._verify(layout)

    def _verify(self, layout: LoadDiskWords) -> None:
        image = self.images["storvsc1"].read_bytes()
        for index in range(layout.extents):
            found = image[index * layout.stride : index * layout.stride + layout.length]
            if layout.known[index] > 1:
                assert layout.wrong_byte(found, layout.expected(self.spec.seed, index)) is None, f"place {index}"

    def channels_of(self, name: str) -> dict[str, ChannelWords]:
        """The channels of a controller that exist in the guest, by the name of their offer."""
        relids = {offer: handle.relid for offer, handle in self.host.offers.items() if offer.split(".")[0] == name}
        return {
            offer: self.guest.vmbus.channels[relid]
            for offer, relid in relids.items()
            if relid is not None and self.guest.vmbus.channels[relid].live
        }

    def until_open(self, name: str, channels: int) -> None:
        """Until the guest has so many channels of a controller open."""

        def enough() -> bool:
            found = self.channels_of(name).values()
            return sum(words.state == ChannelState.OPENED and not words.rescind for words in found) == channels

        self.until(enough, f"{channels} channels of {name}")

    def counts(self, words: ChannelWords) -> StorChannelWords:
        """What a channel has brought."""
        return self.guest.driver_words(words, StorChannelWords)

    def hold_the_table_right(self, name: str) -> None:
        """Requests leave on channels that are there: a CPU that one interrupts has one that interrupts it."""
        channels = {self.host.offers[offer].relid: words for offer, words in self.channels_of(name).items()}
        targets = {relid: words.target_cpu for relid, words in channels.items() if not words.rescind}
        device = self.scsi_hosts[self.counts(self.channels_of(name)[name]).host_no]
        assert device.alloced_cpus == sum(1 << cpu for cpu in set(targets.values()))
        for cpu in range(self.spec.vcpus):
            chosen = device.stor_chns[cpu]
            assert not chosen or chosen in targets
            assert not device.alloced_cpus >> cpu & 1 or targets[Relid(chosen)] == cpu

    async def move_for_ever(self, cpu: SimulatedCpu) -> None:
        """Walk every channel that is open round the CPUs, in the order of somebody who knows no better."""
        system, step = cpu.guest.system, 0
        while not self.load.stopping:
            step += 1
            for channel in list(system.bus.channels):
                if channel.words.irq_requested and not channel.words.rescind:
                    with suppress(OSError):
                        irq_set_affinity(system.irq, Irq(channel.words.irq), 1 << (cpu.core.cpu + step) % cpu.core.cpus)
            await cpu.core.sleep(200e-6)

    def start_moving(self, *cpus: int) -> None:
        """Somebody on each of these CPUs moves all channels until the load ends."""
        for cpu in cpus:
            mover = self.cpus[cpu]
            mover.enter(lambda mover=mover: mover.spawn(self.move_for_ever(mover), "mover"))  # type: ignore[misc]

    def rescind(self, name: str) -> None:
        """The host takes a controller, or a sub-channel, away, and the guest has released it."""
        self.on_host(lambda: self.host.offers[name].rescind())
        self.until(lambda: self.host.offers[name].relid is None, f"{name} released")


@asynccontextmanager
async def loaded_vm(seed: int, directory: Path, policy: str = "rfc") -> AsyncIterator[LoadedVm]:
    """A VM with the load on it; leaving it stops and judges the load."""
    async with LoadedVm(seed, directory, policy) as vm:
        await vm.loaded()
        vm.until_done(60)
        yield vm
        await vm.unloaded()
