"""A frame on its way through the guest, without the generality of ``struct sk_buff``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from guest.kernel.pages import PageAllocator
from protocol.ids import PAGE_SIZE, Pfn
from protocol.ram import Ram

HEADROOM: Final = 128
"""Bytes in front of the frame that its driver may fill in (``needed_headroom``)."""
ETH_HLEN: Final = 14
ETH_ZLEN: Final = 60
"""The shortest frame, without its checksum."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``length`` bytes, Ethernet header first, ``HEADROOM`` behind the start of contiguous pages from ``first`` on.

    Whoever holds it owns the pages; a device that takes it frees them when the host has read it.
    """

    first: Pfn
    length: int

    @classmethod
    def allocate(cls, pages: PageAllocator, length: int) -> Self:
        """``alloc_skb``; the bytes are whatever was there. Raises OutOfPages."""
        frame = cls(Pfn(0), length)
        return cls(pages.allocate(frame.pages), length)

    @property
    def pages(self) -> int:
        return -(-(HEADROOM + self.length) // PAGE_SIZE)

    def free(self, pages: PageAllocator) -> None:
        pages.free(self.first, self.pages)

    def data(self, ram: Ram) -> memoryview:
        """The frame itself."""
        start = self.first * PAGE_SIZE + HEADROOM
        view: memoryview = ram.bytes[start : start + self.length]
        return view
