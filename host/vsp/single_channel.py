"""A device that answers a guest which speaks first: what balloon, keyboard, mouse and video share."""

from abc import abstractmethod

from host.vsp.channel_device import ChannelDevice
from protocol.errors import PeerError
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType


class SingleChannel(ChannelDevice):
    """A packet that asks for a completion gets an empty one, in front of the answer: Linux's keyboard and mouse ask
    for it and do not look at it.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What complaints begin with."""

    @abstractmethod
    def receive(self, payload: bytes) -> None:
        """One in-band packet of the guest, padding included. Raises PeerError if it is not obeyed."""

    @abstractmethod
    def reset(self) -> None:
        """The channel has been opened, or closed: forget the conversation."""

    def opened(self, user_data: bytes) -> None:
        self.reset()

    def closed(self) -> None:
        self.reset()

    def _take(self, packet: Packet) -> None:
        if packet.type != PacketType.IN_BAND:
            raise PeerError(f"{self.name}: packet type {packet.type} from the guest, must be in band")
        if packet.flags & COMPLETION_REQUESTED:
            self.post(b"", packet.transaction_id, PacketType.COMPLETION)
        self.receive(bytes(packet.payload))
