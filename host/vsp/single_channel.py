"""A device with one channel: what balloon, keyboard, mouse and video share."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from host.vsp.device import Offer, Services, VspChannel
from host.vsp.endpoint import Endpoint
from protocol.errors import PeerError
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType


class SingleChannel(ABC):
    """A ``Device`` that has nothing in flight but what lies in its rings, so it closes at once.

    The guest speaks first. A packet that asks for a completion gets an empty one, in front of the answer: Linux's
    keyboard and mouse ask for it and do not look at it.
    """

    def __init__(self, services: Services, offer: Offer) -> None:
        self.offer = offer
        self._services = services
        self._endpoint: Endpoint | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What complaints begin with."""

    @abstractmethod
    def receive(self, payload: bytes) -> None:
        """One in-band packet of the guest, padding included. Raises PeerError if it is not obeyed."""

    @abstractmethod
    def reset(self) -> None:
        """The channel is about to be opened, or has been closed: forget the conversation."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """What a report says of the device."""

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Begin anew."""
        self.reset()
        self._endpoint = Endpoint(channel, self._take, self._services.complain, journal=self._services.journal)
        self._endpoint.look()

    def close(self, done: Callable[[], None]) -> None:
        if self._endpoint:
            self._endpoint.close()
            self._endpoint = None
        self.reset()
        done()

    def doorbell(self) -> None:
        if self._endpoint:
            self._endpoint.look()

    @property
    def congested(self) -> bool:
        """The guest does not take what is sent: more of it would only be out of date."""
        return self._endpoint is not None and self._endpoint.congested

    def post(self, payload: bytes) -> None:
        """Send one in-band packet; nothing if the channel is closed."""
        if self._endpoint:
            self._endpoint.post(PacketType.IN_BAND, payload)

    def _take(self, packet: Packet) -> None:
        if packet.type != PacketType.IN_BAND:
            raise PeerError(f"{self.name}: packet type {packet.type} from the guest, must be in band")
        if packet.flags & COMPLETION_REQUESTED and self._endpoint:
            self._endpoint.post(PacketType.COMPLETION, b"", packet.transaction_id)
        self.receive(bytes(packet.payload))
