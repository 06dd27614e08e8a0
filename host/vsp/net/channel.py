"""What the primary and the sub-channels of netvsp have in common as devices: RNDIS packets, both ways."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count

from host.vsp.device import Offer, Services, VspChannel
from host.vsp.endpoint import FROM_GUEST, TO_GUEST, Endpoint
from host.vsp.net.frames import frame_of
from host.vsp.net.nic import Nic
from host.vsp.net.send_buffer import rndis_messages
from protocol.errors import PeerError
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType
from protocol.ring.transfer_pages import TransferRange, encode
from protocol.wire.layout import Readable
from protocol.wire.nvsp import NvspMessage, RndisPacket, RndisPacketComplete, type_of
from protocol.wire.nvsp_numbers import RECEIVE_BUFFER_ID, ChannelType, NvspStatus
from protocol.wire.rndis import BadRndis, RndisType, split


@dataclass(frozen=True, slots=True)
class Loan:
    """Messages in the receive buffer that the guest has been told of; ``frames`` of them are no control messages."""

    ranges: Sequence[TransferRange]
    frames: int


class NetChannel(ABC):
    """A ``Device``. Whatever the guest sends with a completion requested gets exactly one, also if it is refused:
    Linux waits for most of them without end, and frees the section or pages of a frame only then.
    """

    def __init__(self, services: Services, nic: Nic, offer: Offer) -> None:
        self.offer = offer
        self.index = offer.sub_channel_index
        self._services = services
        self.nic = nic
        self._channel: VspChannel | None = None
        self._endpoint: Endpoint | None = None
        self._lent: dict[int, Loan] = {}
        self._ids = count(1)

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Packets may go both ways at once; netvsc leaves ``user_data`` zero."""
        self._channel = channel
        services = self._services
        self._endpoint = Endpoint(channel, self._receive, services.complain, journal=services.journal)
        self.nic.channels[self.index] = self
        self._endpoint.look()

    def close(self, done: Callable[[], None]) -> None:
        """What the guest has not read it will not read any more. No frame is in flight: all were copied."""
        if self._endpoint:
            self._endpoint.close()
            self._endpoint = self._channel = None
            del self.nic.channels[self.index]
            lent = [place for loan in self._lent.values() for place in loan.ranges]
            self.forget()
            self.nic.give_back(lent)
        done()

    def doorbell(self) -> None:
        """Look at both rings, and see whether the back end can go on."""
        if self._endpoint:
            self._endpoint.look()
            self.nic.relieve()

    def counts(self) -> dict[str, int]:
        """Those of this channel; the primary's are the NIC's."""
        return asdict(self.nic.counts.of(self.index))

    # --- host to guest ------------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Packets wait for room in the ring."""
        return self._endpoint is not None and self._endpoint.congested

    def post(self, type: int, message: bytes, transaction_id: int = 0, flags: int = 0, header: bytes = b"") -> None:
        """Send one packet; nothing happens if the channel is closed."""
        if self._endpoint:
            self._endpoint.post(type, message, transaction_id, flags, header)
            self.nic.relieve()

    def lend(self, ranges: Sequence[TransferRange], channel_type: ChannelType) -> None:
        """Tell the guest of messages in the receive buffer, which are its own until it completes the packet."""
        id = next(self._ids)
        self._lent[id] = Loan(ranges, len(ranges) if channel_type == ChannelType.DATA else 0)
        message = RndisPacket(channel_type).encode()
        self.post(PacketType.TRANSFER_PAGES, message, id, COMPLETION_REQUESTED, encode(RECEIVE_BUFFER_ID, ranges))

    def answer(self, place: TransferRange, message: bytes) -> None:
        """Tell the guest of an RNDIS control message in the receive buffer."""
        self._note(TO_GUEST, message)
        self.lend([place], ChannelType.CONTROL)

    def forget(self) -> None:
        """The receive buffer is gone, or the channel: a completion of what was lent means nothing any more."""
        self.nic.counts.of(self.index).abandoned_frames += sum(loan.frames for loan in self._lent.values())
        self._lent.clear()

    def complete(self, packet: Packet, message: NvspMessage) -> None:
        """Answer a packet of the guest, if it wants one."""
        if packet.flags & COMPLETION_REQUESTED:
            self.nic.counts.of(self.index).completed += 1
            self.post(PacketType.COMPLETION, message.encode(), packet.transaction_id)

    # --- guest to host ------------------------------------------------------------------------------------------------

    @abstractmethod
    def operate(self, packet: Packet, kind: int) -> None:
        """One NVSP message that is no completion. Raises PeerError once it is refused."""

    def _receive(self, packet: Packet) -> None:
        if packet.type == PacketType.COMPLETION:
            self._returned(packet)
            return
        try:
            kind = type_of(packet.payload)
        except PeerError:
            self.complete(packet, RndisPacketComplete(NvspStatus.FAIL))
            raise
        self.operate(packet, kind)

    def _returned(self, packet: Packet) -> None:
        """The guest has read the messages of a packet. Its status does not matter: the memory is ours again."""
        loan = self._lent.pop(packet.transaction_id, None)
        if loan is None:
            raise PeerError(f"netvsc: completion of {packet.transaction_id:#x}, for which the host never asked")
        self.nic.counts.of(self.index).released += 1
        self.nic.give_back(loan.ranges)

    def carry(self, packet: Packet) -> None:
        """SEND_RNDIS_PKT: messages for the network or for the adapter, and their completion. Raises PeerError."""
        status = NvspStatus.FAIL
        try:
            message = RndisPacket.decode(packet.payload)
            assert self._channel is not None and self.nic.send_buffer is not None
            data = rndis_messages(message, packet, self.nic.send_buffer, self._channel.ram)
            status = NvspStatus.INVALID_RNDIS_PKT
            if message.channel_type == ChannelType.CONTROL:
                self._control(data)
            else:
                self._frames(data)
            status = NvspStatus.SUCCESS
        finally:
            self.complete(packet, RndisPacketComplete(status))

    def _frames(self, data: bytes) -> None:
        """All frames in front of the first bad message are sent."""
        frames: list[bytes] = []
        try:
            for kind, message in split(data):
                if kind != RndisType.PACKET:
                    raise BadRndis(f"RNDIS message {kind:#x} on the data channel")
                frames.append(frame_of(message, self.nic.adapter.mtu))
        finally:
            if frames:
                self.nic.transmit(frames, self.index)

    def _control(self, data: bytes) -> None:
        if self.index:
            raise BadRndis(f"RNDIS control message on sub-channel {self.index}")
        for kind, message in split(data):
            self._note(FROM_GUEST, message)
            self.nic.counts.control += 1
            self.nic.control.receive(kind, message)

    def _note(self, direction: str, message: Readable) -> None:
        """The event ``rndis``: relid, direction, and a control message, which no packet has in it."""
        if self._services.journal and self._channel:
            self._services.journal("rndis", self._channel.relid, direction, bytes(message))
