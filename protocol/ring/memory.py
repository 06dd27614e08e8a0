"""The memory of one ring: a control page that two strangers share, and a data area that is mapped twice in a row.

A control page is ``struct hv_ring_buffer`` of the kernel's ``include/linux/hyperv.h``:

    ====== ================= ==================================================== ==========
    offset field             meaning                                              written by
    ====== ================= ==================================================== ==========
    0      write_index       byte offset of the next packet to be written         writer
    4      read_index        byte offset of the next packet to be read            reader
    8      interrupt_mask    1: do not signal me when the ring ceases to be empty reader
    12     pending_send_sz   bytes that the writer waits for; 0: it does not      writer
    64     feature_bits      bit 0: the writer uses pending_send_sz               writer
    ====== ================= ==================================================== ==========

Indices are multiples of 8 below the size of the data area; equal indices mean *empty*, so a ring is never filled to
the last 8 bytes. The size need not be a power of two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.errors import PeerError

WRITE_INDEX: Final = 0
READ_INDEX: Final = 1
INTERRUPT_MASK: Final = 2
PENDING_SEND_SZ: Final = 3
FEATURE_BITS: Final = 16

FEATURE_PENDING_SEND_SZ: Final = 1

GRANULE: Final = 8
"""Everything in a ring is a multiple of this many bytes; so is the piece that always stays free."""

Fence = Callable[[], None]
"""A full fence: no load after it is answered before every store in front of it can be seen by the others."""

Point = Callable[[str], None]
"""Told at each place where another CPU may come in between; the simulation switches there. None in processes."""


class RingCorrupt(PeerError):
    """The peer left something in the ring that no correct peer writes. The channel cannot be used any further.

    ``what`` names the field, ``value`` is what was found there and ``rule`` says what it had to be.
    """

    def __init__(self, what: str, value: int, rule: str) -> None:
        super().__init__(f"corrupt ring: {what} is {value} ({value:#x}), must be {rule}")
        self.what = what
        self.value = value
        self.rule = rule


@dataclass(frozen=True, slots=True)
class RingMemory:
    """One direction of a channel.

    ``control`` is the control page as 1024 words of 32 bits. Every store to it is one aligned word through this view;
    ``struct.pack_into`` would show the peer a transient 0. ``data`` is the data area as bytes, mapped twice in a
    row: 2 * ``size`` bytes, of which byte i and byte i + ``size`` are the same (the kernel does the same with vmap in
    ``hv_ringbuffer_init``), so nothing in it ever needs to be split. ``size`` is in bytes.
    """

    control: memoryview
    data: memoryview
    size: int

    def init(self) -> None:
        """Make the ring empty, as the guest does for both rings before it opens a channel (``hv_ringbuffer_init``)."""
        for word in (WRITE_INDEX, READ_INDEX, INTERRUPT_MASK, PENDING_SEND_SZ):
            self.control[word] = 0
        self.control[FEATURE_BITS] = FEATURE_PENDING_SEND_SZ

    def write_index(self) -> int:
        """Load write_index. It is the peer's memory, so it is checked each time: RingCorrupt."""
        index: int = self.control[WRITE_INDEX]
        if index >= self.size or index % GRANULE:
            raise self._impossible("write_index", index)
        return index

    def read_index(self) -> int:
        """Load read_index. It is the peer's memory, so it is checked each time: RingCorrupt."""
        index: int = self.control[READ_INDEX]
        if index >= self.size or index % GRANULE:
            raise self._impossible("read_index", index)
        return index

    def _impossible(self, name: str, index: int) -> RingCorrupt:
        return RingCorrupt(name, index, f"a multiple of {GRANULE} below {self.size}")

    def room(self, write: int, read: int) -> int:
        """Bytes, trailers included, that may be written at ``write`` while the reader is at ``read``."""
        return self.size - GRANULE - (write - read) % self.size
