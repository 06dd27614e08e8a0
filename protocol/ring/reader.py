"""The reading end of a ring: the packet iterator of the kernel (``hv_pkt_iter_first`` .. ``hv_pkt_iter_close``)."""

from collections.abc import Callable
from typing import Final

from protocol.errors import OperatorError
from protocol.ring.memory import (
    FEATURE_BITS,
    FEATURE_PENDING_SEND_SZ,
    GRANULE,
    INTERRUPT_MASK,
    PENDING_SEND_SZ,
    READ_INDEX,
    Fence,
    Point,
    RingCorrupt,
    RingMemory,
)
from protocol.ring.packet import DESCRIPTOR, DESCRIPTOR_WORDS, MIN_PACKET, TRAILER, Packet, judge

FIRST_WINDOW: Final = 4096
LAST_WINDOW: Final = 65536
"""Bytes that are copied out of the ring at once, before anything in them is judged: twice as many each time."""

_unpack = DESCRIPTOR_WORDS.unpack_from
_new_packet = tuple.__new__  # the constructor that NamedTuple generates takes twice as long


class RingReader:
    """Takes packets out with drain() and gives their room back with release(); in between the peer sees nothing of it.

    The order that loses no wake-up is mask(), drain(), release(), unmask(), and all of it again if unmask() is True.
    A reader that never masks looks at available() after release() instead. A signal means "look again", never "one
    packet". No index survives release(), so several processes may read one ring if they hold a lock up to there.
    """

    __slots__ = ("_control", "_data", "_fence", "_first", "_next", "_point", "_ring", "_size", "read")

    def __init__(self, ring: RingMemory, fence: Fence, point: Point | None = None) -> None:
        self._ring = ring
        self._control = ring.control
        self._data = ring.data
        self._size = ring.size
        self._fence = fence
        self._point = point
        # The first byte not yet drained; None: nothing has been drained since release(), it is at read_index.
        self._next: int | None = None
        self._first = 0  # where read_index stands, from the first drain() after a release() on
        self.read = 0
        """Bytes whose room this reader has given back."""

    def mask(self) -> None:
        """Silence the peer's signals, while draining say (``hv_begin_read``)."""
        self._control[INTERRUPT_MASK] = 1
        self._fence()

    def unmask(self) -> bool:
        """Let the peer signal again (``hv_end_read``). True: it wrote while it was silenced, so drain again.

        OperatorError: what was drained is not released. The peer would take the ring for non-empty and stay silent.
        """
        if self._next is not None:
            raise OperatorError("release() before unmask(): the peer signals only if it sees that the ring was empty")
        self._control[INTERRUPT_MASK] = 0
        if self._point:
            self._point("ring.read.unmasked")
        self._fence()
        return self._ring.write_index() != self._ring.read_index()

    def available(self) -> int:
        """Bytes, as ``ring_bytes`` counts them, that are published and not yet drained."""
        position = self._ring.read_index() if self._next is None else self._next
        return (self._ring.write_index() - position) % self._size

    def drain(self, callback: Callable[[Packet], None], limit: int | None = None, views: bool = False) -> int:
        """Hand each packet that is published by now, ``limit`` at the most, to ``callback``. Returns how many.

        The peer can change the ring at any time, so packets are copied first and judged then. With ``views`` each
        payload is instead a view of the ring, good until release(); the descriptor is copied even so. RingCorrupt:
        an index or a packet is impossible; the packets in front of it have been handed out.
        """
        ring = self._ring
        if self._next is None:
            position = self._first = ring.read_index()
        else:
            position = self._next
        left = (ring.write_index() - position) % self._size
        if self._point:
            self._point("ring.read.looked")
        self._fence()  # the index before the packets: an acquire, which x86-64 has for nothing and arm64 has not
        span = left if views else FIRST_WINDOW
        budget = self._size if limit is None else limit
        taken = judged = 0
        while left and taken < budget:
            span = min(span, left)
            source: memoryview | bytes = self._data[position : position + span]
            if not views:
                source = bytes(source)
            at, end, last = 0, MIN_PACKET - TRAILER.size, span - MIN_PACKET
            try:
                while at <= last and taken < budget:
                    word, transaction_id = _unpack(source, at)
                    if word != judged:  # mostly a packet is like the one in front of it
                        type, flags, offset, length = judge(word)
                        judged = word
                    end = at + length
                    if end >= span:
                        break
                    start = at + offset
                    header = bytes(source[at + DESCRIPTOR.size : start]) if offset > DESCRIPTOR.size else b""
                    packet = _new_packet(Packet, (type, flags, transaction_id, header, source[start:end]))
                    at = end + TRAILER.size
                    taken += 1
                    callback(packet)
            finally:
                if at:
                    position = self._next = (position + at) % self._size
                    left -= at
            if not at and span == left:
                raise RingCorrupt("packet length", end + TRAILER.size, f"at most the {left} bytes that are published")
            if not at or span < LAST_WINDOW:
                span *= 2
        return taken

    def release(self) -> bool:
        """Give the room of the drained packets back (read_index). True: signal the peer, it waits for just that.

        The peer waits if pending_send_sz is not 0, and its turn comes when the room grows from less to at least that;
        at any other time a signal would be spurious (``hv_pkt_iter_close``; hv_sock leaves pending_send_sz set for
        ever). interrupt_mask does not count here: it silences the writer of this ring, and this is its reader.
        """
        if self._next is None:
            return False
        control, point, was, now = self._control, self._point, self._first, self._next
        self.read += (now - was) % self._size
        self._next = None
        self._fence()  # the packets are read before their room is given away: a release, as above
        control[READ_INDEX] = now
        if point:
            point("ring.read.released")
        self._fence()
        if not control[FEATURE_BITS] & FEATURE_PENDING_SEND_SZ:
            return False
        wanted: int = control[PENDING_SEND_SZ] & -GRANULE  # some guests write size - 1
        if not wanted:
            return False
        if point:
            point("ring.read.wish_seen")
        self._fence()  # the wish before write_index, which the writer stored in front of it
        ring = self._ring
        write = ring.write_index()
        return ring.room(write, was) < wanted <= ring.room(write, now)
