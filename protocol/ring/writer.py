"""The writing end of a ring: ``hv_ringbuffer_write`` of the kernel, with several packets to one publication."""

from protocol.errors import OperatorError
from protocol.ring.memory import (
    GRANULE,
    INTERRUPT_MASK,
    PENDING_SEND_SZ,
    WRITE_INDEX,
    Fence,
    Point,
    RingMemory,
)
from protocol.ring.packet import PLANS, plan

IDLE = -1


class RingWriter:
    """Stages packets with put() and publishes them with commit(); in between the peer sees nothing of them.

    Several processes may write one ring if they hold a lock from the first put() to commit(), as the kernel holds
    ``ring_lock``. So no index survives commit().

    Without room: commit() what is staged, then ``want(n)``; if that is False too, wait until the peer signals.
    """

    __slots__ = (
        "_control",
        "_data",
        "_end",
        "_fence",
        "_limit",
        "_point",
        "_ring",
        "_size",
        "_start",
        "_wanting",
        "written",
    )

    def __init__(self, ring: RingMemory, fence: Fence, point: Point | None = None) -> None:
        self._ring = ring
        self._control = ring.control
        self._data = ring.data
        self._size = ring.size
        self._fence = fence
        self._point = point
        self._wanting = False
        self.written = 0
        """Bytes that this writer has published."""
        # Staged is [_start, _end); _end may grow to _limit. They run on into the second mapping of the data area and
        # are brought back by commit(). A _limit of IDLE: nothing is staged, _start and _end mean nothing.
        self._start = 0
        self._end = 0
        self._limit = IDLE

    def room(self) -> int:
        """Bytes, as ``ring_bytes`` counts them, that could be staged now."""
        start = self._ring.write_index() if self._limit == IDLE else self._start
        staged = 0 if self._limit == IDLE else self._end - self._start
        return self._ring.room(start, self._ring.read_index()) - staged

    def put(self, type: int, payload: bytes, transaction_id: int = 0, flags: int = 0, header: bytes = b"") -> bool:
        """Stage one packet behind those already staged. False: no room for it, and nothing has changed.

        ``header`` is what the type has between descriptor and payload, a multiple of 8 bytes. OperatorError: the
        packet would not fit even into the empty ring. RingCorrupt: read_index is impossible.
        """
        offset8 = 2
        if header:
            if len(header) % GRANULE:
                raise OperatorError(f"pad the packet header to a multiple of 8 bytes: it has {len(header)}")
            offset8 += len(header) // GRANULE
            payload = header + payload
        try:
            pack, length, len8 = PLANS[len(payload)]
        except KeyError:
            pack, length, len8 = plan(len(payload))
        at = self._end
        end = at + length
        if end > self._limit:
            if not self._make_room(length):
                return False
            at = self._end
            end = at + length
        start = at if at < self._size else at - self._size
        pack(self._data, at, type, offset8, len8, flags, transaction_id, payload, start)
        self._end = end
        return True

    def _make_room(self, length: int) -> bool:
        """Load the peer's index (again), and this side's if nothing is staged. False: it does not help."""
        ring = self._ring
        if self._limit == IDLE:
            self._start = self._end = ring.write_index()
            if self._point:
                self._point("ring.write.loaded")
        limit = self._start + ring.room(self._start, ring.read_index())
        if self._end + length > limit:
            self._check(length)
            return False
        self._limit = limit
        return True

    def commit(self) -> bool:
        """Publish what is staged. True: signal the peer, for the ring was empty and the reader does not mask signals.

        Whether it was empty is asked of a read_index loaded *after* the new write_index is stored and fenced: either
        this side sees that the reader had come to the old end, or the reader's next look sees the new packets.
        Takes back what this writer wanted; a sender that still lacks room says it again.
        """
        if self._limit == IDLE:
            return False
        self._limit = IDLE
        control, point, end = self._control, self._point, self._end
        self.written += end - self._start
        if self._wanting:
            self._wanting = False
            control[PENDING_SEND_SZ] = 0
        self._fence()  # the packets before the index: a release, which x86-64 has for nothing and arm64 has not
        control[WRITE_INDEX] = end if end < self._size else end - self._size
        if point:
            point("ring.write.published")
        self._fence()
        if control[INTERRUPT_MASK]:
            return False
        if point:
            point("ring.write.mask_loaded")
        return self._ring.read_index() == self._start

    def want(self, length: int) -> bool:
        """Ask for a signal when ``length`` bytes are free (pending_send_sz). True: by now they are, do not wait.

        The second look, behind a full fence, makes it safe to sleep on False. The peer signals once: when the room
        grows from less than ``length`` to at least that (``hv_pkt_iter_close``). OperatorError: something is staged,
        or the ring never has that much room.
        """
        if self._limit != IDLE:
            raise OperatorError("commit() before want(): the peer judges the room by what is published")
        length += -length % GRANULE
        self._check(length)
        self._control[PENDING_SEND_SZ] = length
        self._wanting = True
        if self._point:
            self._point("ring.write.wanting")
        self._fence()
        if self.room() < length:
            return False
        self._wanting = False
        self._control[PENDING_SEND_SZ] = 0
        return True

    def _check(self, length: int) -> None:
        if length > self._size - GRANULE:
            raise OperatorError(f"{length} bytes never fit into a ring of {self._size}: use a larger ring")
