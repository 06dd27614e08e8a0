"""Disks of the whole system: their words, and what a program on any CPU does with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Text, Word
from guest.kernel.wait import WaitWords
from protocol.errors import OperatorError
from protocol.ids import Pfn

MAX_DISKS: Final = 64

ABSENT: Final = 0
PROBING: Final = 1
LIVE: Final = 2


class DiskWords(Struct):
    """``struct gendisk`` with its queue limits, by the index in its name; ``state`` becomes LIVE last."""

    state = Word("connect CPU")
    """ABSENT: the name is free. PROBING: it is taken. LIVE."""
    generation = Word("connect CPU")
    """How many disks had been found in this VM when this one was: no two have the same."""
    host_no = Word("connect CPU")
    relid = Word("connect CPU")
    """The controller's primary channel."""
    controller = Text(40, "connect CPU")
    """The controller's instance GUID."""
    channel = Word("connect CPU")
    target = Word("connect CPU")
    lun = Word("connect CPU")
    block_size = Word("connect CPU")
    """Bytes."""
    blocks = Word("connect CPU")
    max_transfer = Word("connect CPU")
    """Largest request in bytes, a multiple of the block size (``max_sectors``)."""
    read_only = Word("connect CPU")
    tagged_supported = Word("connect CPU")
    """1: it queues commands."""
    write_cache = Word("connect CPU")
    """1: writes are stable only after a flush."""
    vendor = Text(16, "connect CPU")
    model = Text(24, "connect CPU")
    serial = Text(64, "connect CPU")


class DiskListWords(WaitWords):
    """The wait queue is woken when a disk comes or goes."""

    found = Word("connect CPU")
    """Disks found so far."""


class BlockError(Exception):
    """A request failed for good: one line with the disk, what was asked, where, and what the device said."""


class DiskGone(BlockError):
    """The disk or its controller has been taken away (ENXIO, BLK_STS_TRANSPORT).

    A write may have reached the disk or not. While the controller is not back, the host may still be moving data from
    or to the pages of the request: Linux would not return them before.
    """


class DiskDriver(Protocol):
    """What turns requests into commands (``sd``), on each CPU. Both raise BlockError."""

    async def transfer(self, disk: Disk, lba: int, blocks: int, first: Pfn, write: bool) -> None: ...
    async def flush(self, disk: Disk) -> None: ...


class Disk:
    """One CPU's view of a disk, for as long as that very disk is there: another may get its name.

    Buffers are contiguous pages of guest RAM that begin at frame ``first``.
    """

    __slots__ = ("_driver", "generation", "name", "words")

    def __init__(self, name: str, words: DiskWords, driver: DiskDriver) -> None:
        self.name = name
        self.words = words
        self.generation = words.generation
        self._driver = driver

    @property
    def live(self) -> bool:
        """It has not been removed."""
        return self.words.state == LIVE and self.words.generation == self.generation

    @property
    def address(self) -> str:
        """As the kernel prints it: host, channel, target, LUN."""
        words = self.words
        return f"{words.host_no}:{words.channel}:{words.target}:{words.lun}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.words.blocks * self.words.block_size

    def is_called(self, name: str) -> bool:
        """By its name, its serial number (VPD page 80), or ``<instance GUID of its controller>/<LUN>``.

        The name may be another after the disk has been taken away and has come back; the others stay.
        """
        words = self.words
        return name in (self.name, words.serial, f"{words.controller}/{words.lun}")

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
    """All disks, as one CPU sees them. Made once on every CPU, at the same place of start-up.

    Names are those of the lowest free letters, as ``sd_probe`` gives them. Simplified: whoever holds a disk that is
    gone does not keep its name from the next one.
    """

    def __init__(self, core: Core, driver: DiskDriver) -> None:
        self._list = core.memory.one(DiskListWords)
        table = core.memory.table(DiskWords, MAX_DISKS)
        self._slots = [(sd_format_disk_name(index), each) for index, each in enumerate(table)]
        self._driver = driver
        self.changed = core.wait_queue(self._list)

    def __iter__(self) -> Iterator[Disk]:
        """The disks that are there now."""
        return (Disk(name, words, self._driver) for name, words in self._slots if words.state == LIVE)

    def look_for(self, name: str) -> Disk | None:
        """The disk that is called so (``Disk.is_called``), if it is there now."""
        return next((disk for disk in self if disk.is_called(name)), None)

    def find(self, name: str) -> Disk:
        """The same. Raises OperatorError that names the disks there are."""
        disk = self.look_for(name)
        if disk is None:
            known = ", ".join(disk.name for disk in self) or "none"
            raise OperatorError(f"there is no disk {name}: choose one of those attached ({known})")
        return disk

    # --- the connect CPU --------------------------------------------------------------------------------------------

    def allocate(self) -> Disk | None:
        """Take the lowest free name for a disk that is being probed; None if there are too many."""
        for name, words in self._slots:
            if words.state == ABSENT:
                self._list.found += 1
                words.generation = self._list.found
                words.state = PROBING
                return Disk(name, words, self._driver)
        return None

    def add(self, disk: Disk) -> None:
        """It can be used from now on (``device_add_disk``)."""
        disk.words.state = LIVE
        self.changed.wake_up()

    def remove(self, disk: Disk) -> None:
        """No request is sent to it from now on, and its name is free (``del_gendisk``)."""
        disk.words.state = ABSENT
        self.changed.wake_up()


def sd_format_disk_name(index: int) -> str:
    """sda to sdz, sdaa onwards."""
    name = ""
    while index >= 0:
        name = chr(ord("a") + index % 26) + name
        index = index // 26 - 1
    return "sd" + name
