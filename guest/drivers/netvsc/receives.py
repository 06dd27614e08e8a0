"""Receiving: transfer-page packets, the RNDIS messages in them, and the answers that the host is owed.

netvsc.c ``netvsc_receive``, ``enq_receive_complete`` and ``send_recv_completions``, rndis_filter.c
``rndis_filter_receive``.
In softirq context, on the CPU that owns the NAPI instance of the channel.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.drivers.netvsc.words import RECEIVE_COMPLETIONS, NetvscDeviceWords, NetvscQueueWords
from guest.vmbus.channel import VmbusChannel
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE
from protocol.ring import Packet, PacketType, transfer_pages
from protocol.ring.transfer_pages import TransferRange
from protocol.wire import rndis
from protocol.wire.nvsp import RndisPacket, RndisPacketComplete
from protocol.wire.nvsp_numbers import RECEIVE_BUFFER_ID, NvspStatus

COMPLETION_BYTES = 8
"""Type and status; Linux does not pad this one."""


class Receives:
    """``deliver(kind, message)`` is given each RNDIS message, copied; it raises PeerError if that is nonsense."""

    def __init__(
        self,
        channel: VmbusChannel,
        nic: NetvscDeviceWords,
        words: NetvscQueueWords,
        deliver: Callable[[int, memoryview], None],
    ) -> None:
        self._channel = channel
        self._nic = nic
        self._words = words
        self._deliver = deliver
        self._ram = channel.bus.core.ram

    @property
    def room(self) -> int:
        """How many packets may be taken before the host must be answered.

        Linux sizes this by the receive buffer and drops the answer if the host overdoes it; here no more is taken.
        """
        return RECEIVE_COMPLETIONS - (self._words.owed_next - self._words.owed_first)

    def receive(self, packet: Packet) -> None:
        """Deliver every range of a packet, and owe the host one answer for all. Raises PeerError: not such a packet."""
        RndisPacket.decode(packet.payload)
        pages = transfer_pages.parse(packet.header)
        if pages.set_id != RECEIVE_BUFFER_ID:
            raise PeerError(f"netvsc: transfer pages of set {pages.set_id:#x}")
        status = NvspStatus.SUCCESS
        for each in pages.ranges:
            try:
                self._receive_range(each)
            except PeerError:
                self._words.malformed += 1
                status = NvspStatus.FAIL
        words = self._words
        at = words.owed_next % RECEIVE_COMPLETIONS
        words.owed_ids[at], words.owed_status[at] = packet.transaction_id, status
        words.owed_next += 1

    def _receive_range(self, at: TransferRange) -> None:
        """One RNDIS message; copied first, since the host can change it at any time."""
        nic = self._nic
        if at.byte_count > nic.recv_section_size or at.byte_offset + at.byte_count > nic.recv_bytes:
            raise PeerError(f"netvsc: {at.byte_count} bytes at {at.byte_offset} are not in the receive buffer")
        start = nic.recv_pfn * PAGE_SIZE + at.byte_offset
        first = next(rndis.split(bytes(self._ram.bytes[start : start + at.byte_count])), None)
        if first is None:
            raise PeerError("netvsc: an empty range")
        self._deliver(*first)

    def send_completions(self) -> bool:
        """Answer for what has been taken. False: the ring is full, and the callback will run when it is not."""
        words = self._words
        while words.owed_first != words.owed_next:
            at = words.owed_first % RECEIVE_COMPLETIONS
            answer = RndisPacketComplete(words.owed_status[at]).encode()[:COMPLETION_BYTES]
            if not self._channel.send_packet(answer, words.owed_ids[at], PacketType.COMPLETION):
                return False
            words.owed_first += 1
        return True
