"""What the files of the VMBus are rendered from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from guest.vmbus.sysfs.ring import RingDebugInfo
from guest.vmbus.words import MAX_CHANNEL_RELIDS, ChannelState, ChannelWords, VmbusTables
from protocol.errors import PeerError
from protocol.ids import Relid
from protocol.wire.guids import DeviceType, device_type
from protocol.wire.messages import ChannelFlags, OfferChannel, decode
from protocol.wire.versions import Dialect, Version


@dataclass(frozen=True, slots=True)
class SysfsChannel:
    """A channel that has been announced to sysfs."""

    relid: Relid
    words: ChannelWords
    offer: OfferChannel
    ram: memoryview

    @property
    def type(self) -> DeviceType:
        return device_type(self.offer.class_id, bool(self.offer.flags & ChannelFlags.TLNPI_PROVIDER_OFFER))

    @property
    def inbound(self) -> RingDebugInfo:
        """From the host. Raises EINVAL while the channel is closed, as ``outbound``."""
        return RingDebugInfo.of(self.ram, self.words, inbound=True)

    @property
    def outbound(self) -> RingDebugInfo:
        return RingDebugInfo.of(self.ram, self.words, inbound=False)


@dataclass(frozen=True, slots=True)
class VmbusView:
    """The shared words of the VMBus, and guest RAM as bytes."""

    tables: VmbusTables
    ram: memoryview

    def primaries(self) -> Iterator[SysfsChannel]:
        """The primary channels that have a device, by relid."""
        return self._announced(0)

    def channels_of(self, primary: SysfsChannel) -> Iterator[SysfsChannel]:
        """The channels of a device: the primary, then its sub-channels by relid."""
        yield primary
        yield from self._announced(primary.relid)

    def _announced(self, primary_relid: int) -> Iterator[SysfsChannel]:
        channels, version = self.tables.channels, self.tables.connection.version
        primaries, live = channels.column(ChannelWords.primary_relid), channels.column(ChannelWords.live)
        for relid in [relid for relid, primary in enumerate(primaries) if primary == primary_relid and live[relid]]:
            words = channels[relid]
            if words.state != ChannelState.OFFER:
                with suppress(PeerError):  # the relid is given to another channel in this moment
                    yield SysfsChannel(Relid(relid), words, _offer(words.offer, version), self.ram)

    def driver_name(self, channel: SysfsChannel) -> str:
        """The driver that the device is bound to; empty if there is none."""
        number = channel.words.driver
        return self.tables.drivers[number - 1].name if number else ""


@lru_cache(maxsize=MAX_CHANNEL_RELIDS)
def _offer(message: bytes, version: int) -> OfferChannel:
    """Decoded once, for a path leads past many channels. Raises PeerError."""
    offer = decode(message, Dialect(Version(version)))
    assert isinstance(offer, OfferChannel)
    return offer
