"""A device with one channel: what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from host.vsp.device import Offer, Services, VspChannel
from host.vsp.endpoint import Endpoint
from protocol.ring import Packet, PacketType


class ChannelDevice(ABC):
    """A ``Device`` that has nothing in flight but what lies in its rings, so it closes at once."""

    def __init__(self, services: Services, offer: Offer) -> None:
        self.offer = offer
        self._services = services
        self._endpoint: Endpoint | None = None

    @abstractmethod
    def _take(self, packet: Packet) -> None:
        """The guest has sent a packet. Raises PeerError if it is not obeyed."""

    @abstractmethod
    def opened(self, user_data: bytes) -> None:
        """The guest has opened the channel, and nothing of what it has sent has been taken yet."""

    @abstractmethod
    def closed(self) -> None:
        """The guest has closed it, or is gone: stop timers."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """What a report says of the device."""

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Begin anew."""
        services = self._services
        self._endpoint = Endpoint(channel, self._take, services.complain, journal=services.journal)
        self.opened(user_data)
        self._endpoint.look()

    def close(self, done: Callable[[], None]) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        self.closed()
        done()

    def doorbell(self) -> None:
        if self._endpoint is not None:
            self._endpoint.look()

    @property
    def congested(self) -> bool:
        """The guest does not take what is sent: more of it would only be out of date."""
        return self._endpoint is not None and self._endpoint.congested

    def post(
        self, payload: bytes, transaction_id: int = 0, type: PacketType = PacketType.IN_BAND, flags: int = 0
    ) -> None:
        """Send a packet; later if the ring is full, never if the channel is closed."""
        if self._endpoint is not None:
            self._endpoint.post(type, payload, transaction_id, flags)
