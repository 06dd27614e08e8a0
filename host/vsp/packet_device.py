"""What an author derives a device from: one channel, packets in and out."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar
from uuid import UUID

from host.vsp.channel_device import ChannelDevice
from host.vsp.device import Offer
from host.vsp.kind import Setting
from protocol.ring import Packet


class PacketDevice(ChannelDevice):
    """A device with one channel and no options. Drivers know it by its ``class_id``.

    It is made once, when the VM starts; opened and closed as often as the guest likes. Its methods and its timers
    (``self.services.call_later``) are called from one thread, one at a time. What the guest did wrong is a
    ``PeerError``: raise it in ``receive``, and the device carries on with the next packet. ``post`` sends one.
    """

    name: ClassVar[str]
    """The operator's name for it, and what its instance GUID is made of."""
    class_id: ClassVar[UUID]
    flags: ClassVar[int] = 0
    """``ChannelFlags`` of the offer."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.services, Offer(self.class_id, setting.instance_id, self.flags))
        self.setting = setting
        self.services = setting.services

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

    def _take(self, packet: Packet) -> None:
        self.receive(packet)
