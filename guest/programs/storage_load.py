"""Load on disks from every CPU until it is told to stop, with every byte verified, through removals and returns.

A disk that is read-only is read at random places, and what is read there again must be the same. On any other disk
each task has places of its own, to which it writes one generation after the other and reads back what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from guest.block.disk import BlockError, Disk, DiskGone, Disks
from guest.kernel.core import Core
from guest.kernel.memory import Word
from guest.programs.load_content import LoadDiskWords, digest, numbers
from guest.programs.program import Program, ProgramCpuWords, ProgramWords
from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE, Pfn

MAX_DISKS: Final = 16
DEFAULT_DEPTH: Final = 4
DEFAULT_SIZE: Final = 16 << 10
RETRY_SECONDS: Final = 0.001


class StorageLoadWords(ProgramWords):
    """``failed``: a byte was wrong, or a request failed on a disk that is there."""

    stopping = Word("whoever stops it")
    seed = Word("first CPU")
    disks = Word("first CPU")
    """So many ``LoadDiskWords`` are in use."""


class StorageLoadCpuWords(ProgramCpuWords):
    """One CPU's requests that have ended well, and the others."""

    reads = Word("this CPU")
    writes = Word("this CPU")
    bytes_read = Word("this CPU")
    bytes_written = Word("this CPU")
    compared = Word("this CPU")
    """Reads of which it was known what they had to give."""
    interrupted = Word("this CPU")
    """Requests that failed because the disk or its controller was away, and were made again when it was back."""
    failed = Word("this CPU")
    """Requests that failed otherwise, or gave a wrong byte: the first ends the program."""
    waiting = Word("this CPU")
    """Tasks that wait for a disk to come back."""


class StorageLoad(Program):
    """One CPU's part. Its pages are its own until it knows that the host has let go of them (``DiskGone``)."""

    def __init__(self, core: Core, disks: Disks) -> None:
        self.words = core.memory.one(StorageLoadWords)
        self.cpus = core.memory.table(StorageLoadCpuWords, core.cpus)
        self.table = core.memory.table(LoadDiskWords, MAX_DISKS)
        super().__init__(core, self.words, self.cpus)
        self._own = self.cpus[core.cpu]
        self._disks = disks
        self._withheld: list[tuple[Pfn, int]] = []
        """Pages of requests that were interrupted and not made again in the last run."""

    def start(
        self,
        disks: Sequence[str],
        seed: int = 0,
        depth: int = DEFAULT_DEPTH,
        size: int = DEFAULT_SIZE,
        write: bool = True,
        cpus: Sequence[int] = (),
    ) -> None:
        """Keep ``depth`` requests of ``size`` bytes under way on each of ``disks``, by whatever name it is called.

        A disk is looked for under its controller and LUN when it has been away. ``write``: False to leave all disks as
        they are. ``cpus``: those that take part, all unless said; the others may go offline meanwhile. Raises
        OperatorError: a disk is not there, there are too many.
        """
        with self.starting():
            if not 0 < len(disks) <= MAX_DISKS or depth < 1 or size < 1:
                raise OperatorError(f"give 1 to {MAX_DISKS} disks, a depth and a size of at least 1")
            loaders = list(cpus or range(self.core.cpus))
            found = [self._disks.find(name) for name in disks]
            self._free(self._withheld)
            if self.on_first_cpu:
                self.words.seed, self.words.disks = seed, len(found)
                for load, disk in zip(self.table, found, strict=False):
                    load.lay_out(disk, size, write)
                self.spawn(self._conduct(), "storage-load")
            if self.core.cpu not in loaders:
                return
            first_lane = loaders.index(self.core.cpu) * depth
            for place in range(len(found)):
                for lane in range(first_lane, first_lane + depth):
                    self.spawn(self._load(place, lane, len(loaders) * depth), "storage-io")

    def stop(self) -> None:
        """Requests under way end, no more are made."""
        self.words.stopping = 1
        self._wake()

    def fail(self, reason: str) -> None:
        super().fail(reason)
        self._wake()

    def _wake(self) -> None:
        self.changed.wake_up()
        self._disks.changed.wake_up()

    @property
    def _ending(self) -> bool:
        return bool(self.words.stopping or self.words.failed)

    async def _conduct(self) -> None:
        await self.changed.wait_event(lambda: self._ending)
        await self.alone()
        self.end()

    # --- one of the requests that are kept under way ------------------------------------------------------------------

    async def _load(self, place: int, lane: int, lanes: int) -> None:
        """Request after request to one disk, with one buffer."""
        load = self.table[place]
        own = range(lane, load.extents, lanes) if load.writes else range(load.extents)
        if not own:
            return  # the disk has fewer places than there are tasks
        buffer = self.core.pages.allocate(load.pages), load.pages
        chance = numbers(self.words.seed, place, lane)
        clean = True
        while not self._ending:
            disk = self._disks.look_for(load.identity)
            if disk is None:
                await self._come_back(load)
                continue
            try:
                await self._request(disk, load, own[next(chance) % len(own)], chance, buffer[0])
                clean = True
            except DiskGone:
                self._own.interrupted += 1
                clean = False
                await self.core.sleep(RETRY_SECONDS)
            except BlockError as error:
                self._own.failed += 1
                self.fail(str(error))
        if clean:
            self._free([buffer])
        else:
            self._withheld.append(buffer)

    async def _come_back(self, load: LoadDiskWords) -> None:
        self._own.waiting += 1
        look = self._disks.look_for
        await self._disks.changed.wait_event(lambda: self._ending or look(load.identity) is not None)
        self._own.waiting -= 1

    async def _request(self, disk: Disk, load: LoadDiskWords, index: int, chance: Iterator[int], first: Pfn) -> None:
        if not load.writes:
            found = await self._read(disk, load, index, first)
            self._compare_with_first(disk, load, index, digest(found))
        elif load.known[index] and next(chance) & 1:
            expected = load.expected(self.words.seed, index)
            found = await self._read(disk, load, index, first)
            self._compare(disk, load, index, found, expected)
        else:
            await self._write(disk, load, index, first)

    async def _read(self, disk: Disk, load: LoadDiskWords, index: int, first: Pfn) -> bytes:
        lba, blocks = index * load.stride // load.block_size, load.length // load.block_size
        view = self._view(load, first)
        view[:] = bytes(load.length)  # what an earlier request left must not pass for an answer
        await disk.read(lba, blocks, first)
        self._own.reads += 1
        self._own.bytes_read += load.length
        return bytes(view)

    async def _write(self, disk: Disk, load: LoadDiskWords, index: int, first: Pfn) -> None:
        """The next generation, or the same once more if its write was interrupted."""
        lba, blocks = index * load.stride // load.block_size, load.length // load.block_size
        generation = (load.known[index] >> 1) + 1 - (load.known[index] & 1)
        self._view(load, first)[:] = load.content(self.words.seed, index, generation)
        load.known[index] = generation << 1 | 1
        await disk.write(lba, blocks, first)
        load.known[index] = generation << 1
        self._own.writes += 1
        self._own.bytes_written += load.length

    def _compare(self, disk: Disk, load: LoadDiskWords, index: int, found: bytes, expected: tuple[bytes, ...]) -> None:
        if not expected:
            return
        self._own.compared += 1
        at = load.wrong_byte(found, expected)
        if at is not None:
            self._own.failed += 1
            self.fail(
                f"{disk.name}: byte {index * load.stride + at} reads {found[at]:#04x}, {expected[0][at]:#04x} was "
                f"written as generation {load.known[index] >> 1}"
            )

    def _compare_with_first(self, disk: Disk, load: LoadDiskWords, index: int, now: int) -> None:
        known = load.known[index]
        if not known:
            load.known[index] = now
            return
        self._own.compared += 1
        if known != now:
            self._own.failed += 1
            self.fail(
                f"{disk.name}: {load.length} bytes from {index * load.stride} have the digest {now:016x}, "
                f"{known:016x} when they were read first"
            )

    def _view(self, load: LoadDiskWords, first: Pfn) -> memoryview:
        view: memoryview = self.core.ram.bytes[first * PAGE_SIZE : first * PAGE_SIZE + load.length]
        return view

    def _free(self, buffers: list[tuple[Pfn, int]]) -> None:
        while buffers:
            self.core.pages.free(*buffers.pop())
