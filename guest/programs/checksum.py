"""sha256sum of a whole disk, read by every CPU at once.

The disk is cut into extents that are striped over the CPUs. Readers run ahead of one task that takes the extents in
order and feeds them to SHA-256; how far ahead is bounded by a window in kernel memory, through which whole pages
change hands: allocated by a reader's CPU, freed by the digest's.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from guest.block.disk import BlockError, Disk, DiskGone, Disks
from guest.kernel.core import Core
from guest.kernel.memory import Bytes, Struct, Word
from guest.kernel.wait import WaitWords
from guest.programs.extents import Extent, Extents
from guest.programs.program import Program, ProgramCpuWords, ProgramWords
from protocol.ids import PAGE_SIZE, Pfn

DEFAULT_WINDOW: Final = 64
DEFAULT_DEPTH: Final = 4


class ChecksumWords(ProgramWords):
    """``total`` is the size of the disk."""

    done = Word("first CPU")
    """Bytes that are in the digest."""
    cursor = Word("first CPU")
    """Extents that are in the digest."""
    sha256 = Bytes(32, "first CPU")
    """Good when the program has finished and not failed."""


class ChecksumCpuWords(ProgramCpuWords):
    """One CPU's readers."""

    read = Word("this CPU")
    """Bytes."""


class ChecksumSpace(WaitWords):
    """Readers wait here for the cursor to advance."""


class ChecksumWindow(Struct):
    """Place i of the window serves extents i, i + window, i + 2 * window, ..."""

    filled = Word("reader of the extent; first CPU between runs")
    """Number of the extent that is here + 1; 0: none."""
    first = Word("reader of the extent")
    """Its first page frame."""


class Checksum(Program):
    """One CPU's part: readers on every CPU, the digest on the first.

    ``window`` is how many extents may be read and not digested, on all CPUs together; their pages must fit into RAM.
    """

    def __init__(self, core: Core, disks: Disks, window: int = DEFAULT_WINDOW) -> None:
        self.words = core.memory.one(ChecksumWords)
        self.cpus = core.memory.table(ChecksumCpuWords, core.cpus)
        super().__init__(core, self.words, self.cpus)
        self._space = core.wait_queue(core.memory.one(ChecksumSpace))
        self._window = core.memory.table(ChecksumWindow, window)
        self._disks = disks

    @property
    def digest(self) -> str | None:
        """In hexadecimal; None before the end, or if there is none."""
        return self.words.sha256.hex() if self.finished and not self.words.failed else None

    def start(self, disk_name: str, depth: int = DEFAULT_DEPTH) -> None:
        """Start this CPU's part with ``depth`` reads at a time. Raises OperatorError if there is no such disk."""
        with self.starting():
            disk = self._disks.find(disk_name)
            extents = Extents.of(disk, 0, disk.size)
            if self.on_first_cpu:
                self.words.total = disk.size
                for place in self._window:
                    place.filled = 0
                self.spawn(self._digest(extents), "checksum")
            mine = iter(extents.stripe(self.core.cpu, self.core.cpus))
            for _ in range(depth):
                self.spawn(self._read(disk, extents, mine), "checksum-read")

    # --- every CPU --------------------------------------------------------------------------------------------------

    async def _read(self, disk: Disk, extents: Extents, mine: Iterator[int]) -> None:
        """Take the next extent of this CPU, as often as there is one. Its tasks share the iterator."""
        for index in mine:
            if not await self._may_read(index):
                return
            extent = extents[index]
            first = self.core.pages.allocate(extent.pages)
            try:
                await disk.read(extent.lba, extent.blocks, first)
            except BlockError as error:
                if not isinstance(error, DiskGone):
                    self.core.pages.free(first, extent.pages)
                raise
            self.cpus[self.core.cpu].read += extent.length
            place = self._window[index % len(self._window)]
            place.first = first
            place.filled = index + 1
            self.changed.wake_up()

    async def _may_read(self, index: int) -> bool:
        """Wait until the window reaches as far as ``index``. False: the program has failed."""
        words, window = self.words, len(self._window)
        await self._space.wait_event(lambda: index < words.cursor + window or words.failed != 0)
        return not words.failed

    # --- the first CPU ----------------------------------------------------------------------------------------------

    async def _digest(self, extents: Extents) -> None:
        digest, words = sha256(), self.words
        often = max(1, len(self._window) // 4)  # readers are woken in batches, for each wake-up costs an interrupt
        for index in range(len(extents)):
            if not await self._filled(index):
                break
            extent = extents[index]
            digest.update(self._take(index, extent))
            self.core.pages.free(Pfn(self._window[index % len(self._window)].first), extent.pages)
            words.done += extent.length
            words.cursor = index + 1
            if not words.cursor % often:
                self._space.wake_up()
            await self.core.sched.pause()
        self._space.wake_up()
        words.sha256 = digest.digest()
        await self.alone()
        self._free_rest(extents)
        self.end()

    async def _filled(self, index: int) -> bool:
        """Wait until extent ``index`` is there. False: the program has failed."""
        words, place = self.words, self._window[index % len(self._window)]
        await self.changed.wait_event(lambda: place.filled == index + 1 or words.failed != 0)
        return not words.failed

    def _take(self, index: int, extent: Extent) -> memoryview:
        start = self._window[index % len(self._window)].first * PAGE_SIZE
        view: memoryview = self.core.ram.bytes[start : start + extent.length]
        return view

    def _free_rest(self, extents: Extents) -> None:
        """After a failure: the pages of what was read and not digested."""
        for place in self._window:
            if place.filled > self.words.cursor:
                self.core.pages.free(Pfn(place.first), extents[place.filled - 1].pages)
