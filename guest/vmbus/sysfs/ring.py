"""The ring buffer of a channel as its files show it (``hv_ringbuffer_get_debuginfo``, drivers/hv/ring_buffer.c)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Self

from guest.vmbus.words import ChannelWords
from protocol.ids import PAGE_SIZE
from protocol.ring.memory import INTERRUPT_MASK, READ_INDEX, WRITE_INDEX


@dataclass(frozen=True, slots=True)
class RingDebugInfo:
    """``struct hv_ring_buffer_debug_info``. The indices are what is in the ring, however impossible."""

    interrupt_mask: int
    read_index: int
    write_index: int
    size: int

    @classmethod
    def of(cls, ram: memoryview, words: ChannelWords, *, inbound: bool) -> Self:
        """Of one direction of a channel; ``ram`` is guest RAM as bytes. Raises EINVAL while there are no rings."""
        first, send, both = words.ring_pfn, words.send_pages, words.ring_pages
        if not first:
            raise OSError(errno.EINVAL, "the channel is closed")
        start, pages = (first + send, both - send) if inbound else (first, send)
        control = ram[start * PAGE_SIZE : (start + 1) * PAGE_SIZE].cast("I")
        return cls(control[INTERRUPT_MASK], control[READ_INDEX], control[WRITE_INDEX], (pages - 1) * PAGE_SIZE)

    @property
    def bytes_avail_towrite(self) -> int:
        """The kernel's figure, which includes the eight bytes that are never used."""
        behind = self.write_index >= self.read_index
        return self.read_index - self.write_index + (self.size if behind else 0)

    @property
    def bytes_avail_toread(self) -> int:
        return self.size - self.bytes_avail_towrite
