"""The pump between a device and the two rings of its channel, the same for every VSP."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from host.vsp.device import VspChannel
from protocol.errors import OperatorError, PeerError
from protocol.journal import Journal
from protocol.ring import Packet, RingCorrupt, ring_bytes
from protocol.wire.layout import Readable

BATCH: Final = 64
"""Packets taken before what they gave rise to is published, so that a guest that never pauses still gets answers."""
JOURNALED: Final = 80
"""Bytes of a packet that the journal keeps: every handshake and SCSI command is shorter."""
FROM_GUEST, TO_GUEST = "->", "<-"


def _unlimited() -> int:
    return BATCH


class _Outgoing(NamedTuple):
    type: int
    payload: bytes
    transaction_id: int
    flags: int
    header: bytes


class Endpoint:
    """Takes packets from the guest, posts packets to it, and signals it once per batch and only if that is due.

    ``handler`` is called for each packet. A PeerError from it is complained about and the next packet follows.
    ``appetite`` says how many packets the device can take now. While it is 0, or while answers wait for room in
    the outgoing ring, packets stay in the incoming ring, which is the guest's own back pressure; the device calls
    ``look`` when it can take more. The incoming ring stays masked meanwhile, as OpenVMM keeps it while it polls.

    ``journal`` gets every packet in both directions, as the device and the guest mean them: when it is taken or posted.

    A ring that the guest has corrupted is never touched again: ``complain`` hears of it once, and later posts go
    nowhere.
    """

    def __init__(
        self,
        channel: VspChannel,
        handler: Callable[[Packet], None],
        complain: Callable[[PeerError | OperatorError], None],
        appetite: Callable[[], int] = _unlimited,
        journal: Journal | None = None,
    ) -> None:
        self._channel = channel
        self._incoming = channel.incoming
        self._outgoing = channel.outgoing
        self._handler = handler
        self._complain = complain
        self._appetite = appetite
        self._journal = journal
        self._backlog: deque[_Outgoing] = deque()
        self._signal_due = False
        self._looking = False
        self._open = True

    @property
    def congested(self) -> bool:
        """Answers are waiting because the guest has left no room for them."""
        return bool(self._backlog)

    def look(self) -> None:
        """Look at both rings: on a doorbell, when the channel opens, and when the device's appetite returns.

        The look at open is part of opening: it comes before OPENCHANNEL_RESULT, so before any doorbell that could
        have been lost.
        """
        if self._looking or not self._open:
            return
        self._looking = True
        try:
            if self._backlog or self._signal_due:
                self._publish()
            self._drain()
        except RingCorrupt as error:
            self._abandon(error)
        finally:
            self._looking = False

    def post(self, type: int, payload: bytes, transaction_id: int = 0, flags: int = 0, header: bytes = b"") -> None:
        """Send one packet; in order, later if the ring is full, never if the channel is closed.

        If this finds the room that the backlog waited for, it takes back pending_send_sz, perhaps before the guest
        has seen it, and then no doorbell will come: so the intake, which the backlog had stopped, goes on from here.
        """
        if not self._open:
            return
        if self._journal:
            self._note(TO_GUEST, type, flags, payload)
        backlog = self._backlog
        stopped = bool(backlog)
        try:
            if stopped or not self._outgoing.put(type, payload, transaction_id, flags, header):
                backlog.append(_Outgoing(type, payload, transaction_id, flags, header))
            if not self._looking:
                self._publish()
                if stopped and not backlog:
                    self.look()
        except RingCorrupt as error:
            self._abandon(error)
        except OperatorError as error:  # the guest made a ring that cannot hold even one such packet
            self._complain(error)

    def close(self) -> None:
        """Forget what is queued and leave the rings alone from now on."""
        self._open = False
        self._backlog.clear()

    def _abandon(self, error: RingCorrupt) -> None:
        self.close()
        self._complain(error)

    def _drain(self) -> None:
        self._incoming.mask()
        while limit := 0 if self._backlog else min(BATCH, self._appetite()):
            taken = self._incoming.drain(self._take, limit)
            if not self._open:
                return
            self._signal_due |= self._incoming.release()
            self._publish()
            if taken < limit:
                if not self._incoming.unmask():
                    return
                self._incoming.mask()

    def _take(self, packet: Packet) -> None:
        if self._journal:
            self._note(FROM_GUEST, packet.type, packet.flags, packet.payload)
        try:
            self._handler(packet)
        except PeerError as error:
            self._complain(error)

    def _note(self, direction: str, type: int, flags: int, payload: Readable) -> None:
        """The event ``packet``: relid, direction, type, flags, the beginning of the payload."""
        assert self._journal is not None
        self._journal("packet", self._channel.relid, direction, int(type), flags, bytes(payload[:JOURNALED]))

    def _publish(self) -> None:
        """Publish what is staged, then as much of the backlog as there is room for, and signal if anything asks for it.

        With a backlog left, pending_send_sz says how much the next packet needs, and the guest's next signal may
        mean that the room is there.
        """
        self._signal_due |= self._outgoing.commit()
        while self._backlog:
            while self._backlog and self._outgoing.put(*self._backlog[0]):
                self._backlog.popleft()
            self._signal_due |= self._outgoing.commit()
            if not self._backlog:
                break
            first = self._backlog[0]
            if not self._outgoing.want(ring_bytes(len(first.header) + len(first.payload))):
                break
        if self._signal_due:
            self._signal_due = False
            self._channel.signal()
