"""A byte range of a disk in pieces that one request can move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from guest.block.disk import Disk
from protocol.ids import PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Extent:
    """``lba`` and ``blocks`` for the request, ``offset`` and ``length`` in bytes; ``pages`` that hold it."""

    lba: int
    blocks: int
    offset: int
    length: int

    @property
    def pages(self) -> int:
        return -(-self.length // PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Extents:
    """``length`` bytes from ``offset``, in whole blocks, cut into pieces of ``size`` bytes; the last may be shorter."""

    offset: int
    length: int
    size: int
    block_size: int

    @classmethod
    def of(cls, disk: Disk, offset: int, length: int) -> Self:
        """Pieces as large as the disk takes them."""
        return cls(offset, length, disk.words.max_transfer, disk.words.block_size)

    def __len__(self) -> int:
        return -(-self.length // self.size)

    def __getitem__(self, index: int) -> Extent:
        start = index * self.size
        length = min(self.size, self.length - start)
        offset = self.offset + start
        return Extent(offset // self.block_size, length // self.block_size, offset, length)

    def stripe(self, cpu: int, cpus: int) -> range:
        """The indices that fall to one CPU."""
        return range(cpu, len(self), cpus)
