"""A guest with SCSI controllers whose disks are images in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from guest.block.disk import Disk
from guest.drivers.storvsc.driver import Storvsc
from guest.drivers.storvsc.words import StorChannelWords, StorvscDevice
from guest.kernel.core import Core
from guest.kernel.memory import KernelMemory
from guest.vmbus.device import HvDriver
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from host.vsp.testing import OfferedSubChannels
from protocol.ids import PAGE_SIZE, Pfn
from protocol.ram import Ram
from tests.guest_drivers.bench import Bench, Line, instance
from tests.vsp.image import Image

FIRST = Address(0, 0, 0)
BLOCK = 512


class Machine:
    """``bench``, and what storvsc found. ``programs(core, storvsc)`` may place more in kernel memory."""

    def __init__(self, ram: Ram, cpus: int = 2, programs: Any = lambda core, storvsc: None, depth: int = 32) -> None:
        class Driver(Storvsc):
            queue_depth = depth

        self.programs: list[Any] = []

        def build(core: Core, bus: Any) -> list[HvDriver]:
            storvsc = Driver(core, bus)
            self.programs.append(programs(core, storvsc))
            return [storvsc]

        self.bench = Bench(ram, cpus, build)
        self.ram = ram

    def attach(
        self, disks: Mapping[Address, Image], target_cpu: int = 0, relid: int = 1, block_size: int = BLOCK
    ) -> Line:
        """Plug a controller in and let the guest find its disks."""
        services = self.bench.clock
        controller = ScsiController(
            {
                where: ScsiDisk(image, UUID(int=number), services.complain, block_size)
                for number, (where, image) in enumerate(disks.items())
            }
        )
        line = self.bench.plug(
            Storvsp(services, controller, instance(relid), OfferedSubChannels()), 0, relid, target_cpu
        )
        self.bench.probe(line)
        return line

    def driver(self, cpu: int = 0) -> Storvsc:
        driver: Storvsc = self.bench.buses[cpu].drivers[0]
        return driver

    def disk(self, cpu: int = 0, name: str = "sda") -> Disk:
        return self.driver(cpu).disks.find(name)

    def words(self, relid: int = 1) -> StorChannelWords:
        """What a channel has counted."""
        return self.bench.lines[relid].views[0].state(StorChannelWords)

    def device(self, host_no: int = 0) -> StorvscDevice:
        """A SCSI host."""
        return KernelMemory(self.bench.cores[0].memory.words).find(StorvscDevice)[host_no]

    def pages(self, count: int, cpu: int = 0) -> Pfn:
        return self.bench.cores[cpu].pages.allocate(count)

    def at(self, first: Pfn, length: int) -> memoryview:
        view: memoryview = self.ram.bytes[first * PAGE_SIZE : first * PAGE_SIZE + length]
        return view

    def read(self, lba: int, blocks: int, cpu: int = 0, name: str = "sda") -> bytes:
        """Read with one request on one CPU. Raises BlockError."""
        length = blocks * BLOCK
        pages = -(-length // PAGE_SIZE)
        first = self.pages(pages, cpu)
        try:
            self.bench.run(self.disk(cpu, name).read(lba, blocks, first), cpu)
            return bytes(self.at(first, length))
        finally:
            self.bench.cores[cpu].pages.free(first, pages)

    def write(self, lba: int, data: bytes, cpu: int = 0, name: str = "sda") -> None:
        """Write with one request on one CPU. Raises BlockError."""
        pages = -(-len(data) // PAGE_SIZE)
        first = self.pages(pages, cpu)
        try:
            self.at(first, len(data))[:] = data
            self.bench.run(self.disk(cpu, name).write(lba, len(data) // BLOCK, first), cpu)
        finally:
            self.bench.cores[cpu].pages.free(first, pages)


def image(blocks: int = 128, **options: bool) -> Image:
    """``blocks`` blocks of which no two bytes in a row, and no two blocks, are alike."""
    data = b"".join(
        (n * 257).to_bytes(4, "little") + bytes((n + i) % 251 for i in range(BLOCK - 4)) for n in range(blocks)
    )
    return Image(data, **options)
