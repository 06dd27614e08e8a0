"""What the load program knows of the bytes on a disk, so that it, and any other process, can tell right from wrong."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b, shake_128
from typing import Final

from guest.block.disk import Disk
from guest.kernel.memory import Array, Struct, Text, Word
from protocol.ids import PAGE_SIZE

EXTENTS: Final = 1024
"""Places of a disk that are read and written, at most; they lie evenly over all of it."""

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


class LoadDiskWords(Struct):
    """A disk under load. ``known[i]`` says what is at place i; 0: nothing is known.

    On a disk that is only read: the ``digest`` of what was read there first, by any CPU. On one that is written: the
    generation that was written last << 1, and 1 if that write was interrupted: then each block is of this generation or
    of the one before.
    """

    identity = Text(64, "first CPU")
    """``<instance GUID of its controller>/<LUN>``."""
    writes = Word("first CPU")
    """1: the program writes to it."""
    block_size = Word("first CPU")
    length = Word("first CPU")
    """Bytes at each place."""
    stride = Word("first CPU")
    """Bytes from one place to the next."""
    extents = Word("first CPU")
    """Number of places."""
    known = Array(EXTENTS, "the task that owns the place; read-only: any CPU, all the same value")

    def lay_out(self, disk: Disk, size: int, write: bool) -> None:
        """Spread places of at most ``size`` bytes over a disk. Nothing is known of them."""
        words, block = disk.words, disk.words.block_size
        self.identity = f"{words.controller}/{words.lun}"
        self.writes = int(write and not words.read_only)
        self.block_size = block
        self.length = min(size // block * block or block, words.max_transfer, disk.size)
        self.extents = min(EXTENTS, disk.size // self.length)
        self.stride = disk.size // self.extents // block * block
        for index in range(EXTENTS):
            self.known[index] = 0

    @property
    def pages(self) -> int:
        """Pages that hold what is at one place."""
        return -(-self.length // PAGE_SIZE)

    def expected(self, seed: int, index: int) -> tuple[bytes, ...]:
        """What may be at a place that is written: one content, or two if a write was interrupted; none: anything."""
        generation, interrupted = self.known[index] >> 1, self.known[index] & 1
        if generation <= interrupted:
            return ()
        return tuple(self.content(seed, index, generation - back) for back in range(1 + interrupted))

    def content(self, seed: int, index: int, generation: int) -> bytes:
        """What a write puts at a place: SHAKE-128 of seed, disk, place and generation."""
        where = f"{seed} {self.identity} {index} {generation}"
        return shake_128(where.encode()).digest(self.length)

    def wrong_byte(self, found: bytes, contents: tuple[bytes, ...]) -> int | None:
        """The first byte of the first block that is of none of the ``contents``; None if all are right."""
        if not contents or found in contents:
            return None
        for at in range(0, self.length, self.block_size):
            block = found[at : at + self.block_size]
            if all(block != content[at : at + self.block_size] for content in contents):
                return at + next(n for n, byte in enumerate(block) if byte != contents[0][at + n])
        return None


def digest(data: bytes) -> int:
    """64 bits that are never 0."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") | 1


def numbers(seed: int, *stream: int) -> Iterator[int]:
    """64-bit numbers without end (splitmix64), another series for each ``stream``."""
    state = seed & _MASK
    for part in stream:
        state = _mix(state + _GOLDEN * (part + 1) & _MASK)
    while True:
        state = state + _GOLDEN & _MASK
        yield _mix(state)


def _mix(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31
