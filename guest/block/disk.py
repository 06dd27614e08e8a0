"""Disks of the whole system: their words, and what a program on any CPU does with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Text, Word
from protocol.errors import OperatorError
from protocol.ids import Pfn

MAX_DISKS: Final = 16

ABSENT: Final = 0
LIVE: Final = 1
GONE: Final = 2


class DiskWords(Struct):
    """``struct gendisk`` with its queue limits. Stored by the CPU that probes; ``state`` becomes LIVE last."""

    state = Word("probing CPU")
    """ABSENT, LIVE, or GONE: removed, every request fails with ENXIO."""
    host_no = Word("probing CPU")
    relid = Word("probing CPU")
    """The controller's primary channel."""
    channel = Word("probing CPU")
    target = Word("probing CPU")
    lun = Word("probing CPU")
    block_size = Word("probing CPU")
    """Bytes."""
    blocks = Word("probing CPU")
    max_transfer = Word("probing CPU")
    """Largest request in bytes, a multiple of the block size (``max_sectors``)."""
    read_only = Word("probing CPU")
    tagged_supported = Word("probing CPU")
    """1: it queues commands."""
    write_cache = Word("probing CPU")
    """1: writes are stable only after a flush."""
    vendor = Text(16, "probing CPU")
    model = Text(24, "probing CPU")
    serial = Text(64, "probing CPU")


class BlockError(Exception):
    """A request failed for good: one line with the disk, what was asked, where, and what the device said."""


class DiskDriver(Protocol):
    """What turns requests into commands (``sd``), on each CPU. Both raise BlockError."""

    async def transfer(self, disk: Disk, lba: int, blocks: int, first: Pfn, write: bool) -> None: ...
    async def flush(self, disk: Disk) -> None: ...


class Disk:
    """One CPU's view of a disk. Buffers are contiguous pages of guest RAM that begin at frame ``first``."""

    __slots__ = ("_driver", "name", "words")

    def __init__(self, name: str, words: DiskWords, driver: DiskDriver) -> None:
        self.name = name
        self.words = words
        self._driver = driver

    @property
    def size(self) -> int:
        """Bytes."""
        return self.words.blocks * self.words.block_size

    async def read(self, lba: int, blocks: int, first: Pfn) -> None:
        """Fill the pages from ``lba``; at most ``max_transfer`` bytes. Raises BlockError."""
        await self._driver.transfer(self, lba, blocks, first, write=False)

    async def write(self, lba: int, blocks: int, first: Pfn) -> None:
        """Store the pages at ``lba``; at most ``max_transfer`` bytes. Stable after ``flush``. Raises BlockError."""
        await self._driver.transfer(self, lba, blocks, first, write=True)

    async def flush(self) -> None:
        """Return when every write that has returned before is stable. Raises BlockError."""
        await self._driver.flush(self)


class Disks:
    """All disks, sda onwards, as one CPU sees them. Made once on every CPU, at the same place of start-up."""

    def __init__(self, core: Core, driver: DiskDriver) -> None:
        self._all = [
            Disk(f"sd{chr(ord('a') + index)}", words, driver)
            for index, words in enumerate(core.memory.table(DiskWords, MAX_DISKS))
        ]

    def __iter__(self) -> Iterator[Disk]:
        """The disks that are there now."""
        return (disk for disk in self._all if disk.words.state == LIVE)

    def find(self, name: str) -> Disk:
        """Raises OperatorError that names the disks there are."""
        for disk in self:
            if disk.name == name:
                return disk
        known = ", ".join(disk.name for disk in self) or "none"
        raise OperatorError(f"there is no disk {name}: choose one of those attached ({known})")

    def unused(self) -> Disk | None:
        """The next disk to be filled in; None if there are too many. Probes run one at a time."""
        for state in ABSENT, GONE:  # a name that is gone is given again last: somebody may still hold it
            for disk in self._all:
                if disk.words.state == state:
                    return disk
        return None
