"""What an author derives a device from: one channel, packets in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from host.vsp.device import Offer, VspChannel
from host.vsp.endpoint import Endpoint
from host.vsp.kind import Setting
from protocol.ring import Packet, PacketType


class PacketDevice(ABC):
    """A device with one channel and no options. Drivers know it by its ``class_id``.

    It is made once, when the VM starts; opened and closed as often as the guest likes. Its methods and its timers
    (``self.services.call_later``) are called from one thread, one at a time. What the guest did wrong is a
    ``PeerError``: raise it in ``receive``, and the device carries on with the next packet.
    """

    name: ClassVar[str]
    """The operator's name for it, and what its instance GUID is made of."""
    class_id: ClassVar[UUID]
    flags: ClassVar[int] = 0
    """``ChannelFlags`` of the offer."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.services = setting.services
        self.offer = Offer(self.class_id, setting.instance_id, self.flags)
        self._endpoint: Endpoint | None = None

    # --- what an author writes ----------------------------------------------------------------------------------------

    @abstractmethod
    def receive(self, packet: Packet) -> None:
        """The guest has sent a packet. Its payload is padded to a multiple of 8 bytes."""

    def opened(self, user_data: bytes) -> None:
        """The guest has opened the channel. ``user_data``: 120 bytes of OPENCHANNEL from its driver."""
        return

    def closed(self) -> None:
        """The guest has closed it, or is gone: stop timers."""
        return

    def counts(self) -> dict[str, int]:
        """What the report says of the device."""
        return {}

    # --- what it can do -----------------------------------------------------------------------------------------------

    def post(
        self, payload: bytes, transaction_id: int = 0, type: PacketType = PacketType.IN_BAND, flags: int = 0
    ) -> None:
        """Send a packet; later if the ring is full, never if the channel is closed."""
        if self._endpoint is not None:
            self._endpoint.post(type, payload, transaction_id, flags)

    # --- what the VMBus server calls ----------------------------------------------------------------------------------

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        services = self.services
        self._endpoint = Endpoint(channel, self.receive, services.complain, journal=services.journal)
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
