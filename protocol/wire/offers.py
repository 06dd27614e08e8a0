"""The messages about what channels there are: offer, rescind, request, release."""

from enum import IntFlag
from uuid import UUID

from protocol.ids import ConnectionId, Relid
from protocol.wire.control import ControlMessage, message
from protocol.wire.fields import bit0, guid, raw, u8, u16, u32

USER_DEFINED_BYTES = 120
"""``MAX_USER_DEFINED_BYTES``: device data in an offer, and as many from the driver in OPENCHANNEL."""

INVALID_RELID = Relid(0xFFFF_FFFF)
NO_MONITOR = 0xFF


class ChannelFlags(IntFlag):
    """``VMBUS_CHANNEL_*``: the flags of an offer. Linux takes decisions on TLNPI_PROVIDER_OFFER (hv_sock) only.

    From 6.0 on OpenVMM reads bits 1 and 2 as "confidential ring buffer" and "confidential external memory", and bit 3
    as "requires pinned memory".
    """

    ENUMERATE_DEVICE_INTERFACE = 0x1
    SERVER_SUPPORTS_TRANSFER_PAGES = 0x2
    SERVER_SUPPORTS_GPADLS = 0x4
    REQUIRE_PINNED_EXTERNAL_MEMORY = 0x8
    NAMED_PIPE_MODE = 0x10
    LOOPBACK_OFFER = 0x100
    PARENT_OFFER = 0x200
    REQUEST_MONITORED_NOTIFICATION = 0x400
    TLNPI_PROVIDER_OFFER = 0x2000


@message(1, "OFFERCHANNEL", to_host=False)
class OfferChannel(ControlMessage):
    """Here is a channel. The guest makes a device of it, and from then on signals it through ``connection_id``.

    ``sub_channel_index`` 0 is a primary channel; others repeat the GUIDs of their primary (``vmbus_onoffer``). Without
    an allocated monitor, which nothing here ever allocates, each signal is one HvSignalEvent.
    """

    class_id: UUID = guid(8)
    instance_id: UUID = guid(24)
    flags: int = u16(56)
    mmio_megabytes: int = u16(58)
    user_defined: bytes = raw(60, USER_DEFINED_BYTES)
    sub_channel_index: int = u16(180)
    mmio_megabytes_optional: int = u16(182)
    """OpenVMM, ``OfferChannel::mmio_megabytes_optional``; reserved in Linux."""
    relid: Relid = u32(184)
    connection_id: ConnectionId = u32(192)
    monitor_id: int = u8(188, default=NO_MONITOR)
    monitor_allocated: int = bit0(189, "B", default=0)
    dedicated_interrupt: int = bit0(190, "H", default=1)


@message(2, "RESCIND_CHANNELOFFER", to_host=False)
class RescindChannelOffer(ControlMessage):
    """The channel is gone. The guest lets go of it and answers in its own time with RELID_RELEASED."""

    relid: Relid = u32(8)


@message(3, "REQUESTOFFERS", to_host=True)
class RequestOffers(ControlMessage):
    """Tell me of every channel: once per connection."""


@message(4, "ALLOFFERS_DELIVERED", to_host=False)
class AllOffersDelivered(ControlMessage):
    """The channels that existed when REQUESTOFFERS came have been offered. Linux does nothing with it."""


@message(13, "RELID_RELEASED", to_host=True)
class RelidReleased(ControlMessage):
    """The guest has forgotten a rescinded channel: only now may the host give its relid to another."""

    relid: Relid = u32(8)
