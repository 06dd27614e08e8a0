"""Write a pattern to a part of a disk from every CPU, flush, read it back and compare.

What is written depends on the seed and on the place alone, so any process can say what must be in the image. Each
CPU reads back what its neighbour wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import shake_128
from typing import Final

from guest.block.disk import BlockError, Disk, DiskGone, Disks
from guest.kernel.core import Core
from guest.kernel.memory import Word
from guest.programs.extents import Extent, Extents
from guest.programs.program import Program, ProgramCpuWords, ProgramWords
from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE, Pfn

DEFAULT_DEPTH: Final = 4
CHUNK: Final = 4096

Work = Callable[[Disk, Extent], Awaitable[None]]


def pattern(seed: int, offset: int, length: int) -> bytes:
    """What belongs at ``offset`` on the disk: SHAKE-128 of (seed, number of the chunk) for each chunk of 4096 bytes."""
    chunks = range(offset // CHUNK, -(-(offset + length) // CHUNK))
    data = b"".join(shake_128(seed.to_bytes(8, "little") + n.to_bytes(8, "little")).digest(CHUNK) for n in chunks)
    return data[offset % CHUNK : offset % CHUNK + length]


class PatternWords(ProgramWords):
    """``total`` is the length of the range."""

    flushed = Word("first CPU")


class PatternCpuWords(ProgramCpuWords):
    """One CPU's part."""

    written = Word("this CPU")
    """Bytes."""
    compared = Word("this CPU")
    """Bytes."""
    stage = Word("this CPU")
    """0, WRITTEN: all of its extents, COMPARED: all of its neighbour's."""


WRITTEN: Final = 1
COMPARED: Final = 2


class Pattern(Program):
    """One CPU's part; CPU 0 flushes."""

    def __init__(self, core: Core, disks: Disks) -> None:
        self.words = core.memory.one(PatternWords)
        self.cpus = core.memory.table(PatternCpuWords, core.cpus)
        super().__init__(core, self.words, self.cpus)
        self._own = self.cpus[core.cpu]
        self._disks = disks
        self._seed = 0

    def start(self, disk_name: str, seed: int, offset: int, length: int, depth: int = DEFAULT_DEPTH) -> None:
        """Start this CPU's part with ``depth`` requests at a time. ``offset`` and ``length`` in bytes, whole blocks.

        Raises OperatorError: no such disk, or the range is not on it.
        """
        with self.starting():
            disk = self._disks.find(disk_name)
            block = disk.words.block_size
            if offset % block or length % block or length <= 0 or not 0 <= offset <= disk.size - length:
                raise OperatorError(
                    f"choose a range of whole blocks of {block} bytes within the {disk.size} of {disk_name}, "
                    f"not {length} bytes from {offset}"
                )
            self._seed = seed
            if self.on_first_cpu:
                self.words.total = length
                self.spawn(self._conduct(disk), "pattern")
            self.spawn(self._part(disk, Extents.of(disk, offset, length), depth), "pattern-part")

    async def _conduct(self, disk: Disk) -> None:
        """The flush stands between the last write and the first comparison, of all CPUs."""
        if await self._all_reach(WRITTEN):
            try:
                await disk.flush()
                self.words.flushed = 1
                self.changed.wake_up()
            except BlockError as error:
                self.fail(str(error))
        await self.alone()
        self.end()

    async def _all_reach(self, stage: int) -> bool:
        """Wait until every CPU has; False: the program has failed."""
        await self.changed.wait_event(lambda: all(cpu.stage >= stage for cpu in self.cpus) or self.words.failed != 0)
        return not self.words.failed

    # --- every CPU --------------------------------------------------------------------------------------------------

    async def _part(self, disk: Disk, extents: Extents, depth: int) -> None:
        words, cpus = self.words, self.core.cpus
        await self._together(disk, extents, extents.stripe(self.core.cpu, cpus), depth, self._write)
        self._own.stage = WRITTEN
        self.changed.wake_up()
        await self.changed.wait_event(lambda: words.flushed != 0 or words.failed != 0)
        neighbour = extents.stripe((self.core.cpu + 1) % cpus, cpus)
        await self._together(disk, extents, neighbour, depth, self._compare)
        self._own.stage = COMPARED

    async def _together(self, disk: Disk, extents: Extents, stripe: range, depth: int, work: Work) -> None:
        """Do ``work`` on a stripe, ``depth`` extents at a time."""
        others = self._own.tasks
        shared = iter(stripe)
        for _ in range(depth):
            self.spawn(self._each(disk, extents, shared, work), "pattern-io")
        await self.changed.wait_event(lambda: self._own.tasks == others)

    async def _each(self, disk: Disk, extents: Extents, shared: Iterator[int], work: Work) -> None:
        for index in shared:
            if self.words.failed:
                return
            await work(disk, extents[index])
            await self.core.sched.pause()

    async def _write(self, disk: Disk, extent: Extent) -> None:
        with self._buffer(extent) as first:
            self._view(first, extent)[:] = pattern(self._seed, extent.offset, extent.length)
            await disk.write(extent.lba, extent.blocks, first)
        self._own.written += extent.length

    async def _compare(self, disk: Disk, extent: Extent) -> None:
        with self._buffer(extent) as first:
            await disk.read(extent.lba, extent.blocks, first)
            found = bytes(self._view(first, extent))
        expected = pattern(self._seed, extent.offset, extent.length)
        if found != expected:
            at = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
            self.fail(
                f"{disk.name}: byte {extent.offset + at} (LBA {extent.lba + at // disk.words.block_size}) "
                f"reads {found[at]:#04x}, {expected[at]:#04x} was written"
            )
        self._own.compared += extent.length

    @contextmanager
    def _buffer(self, extent: Extent) -> Iterator[Pfn]:
        """Pages for one request. After ``DiskGone`` they are lost: the host may still be using them."""
        first = self.core.pages.allocate(extent.pages)
        try:
            yield first
        except DiskGone:
            raise
        except BlockError:
            self.core.pages.free(first, extent.pages)
            raise
        self.core.pages.free(first, extent.pages)

    def _view(self, first: int, extent: Extent) -> memoryview:
        start = first * PAGE_SIZE
        view: memoryview = self.core.ram.bytes[start : start + extent.length]
        return view
