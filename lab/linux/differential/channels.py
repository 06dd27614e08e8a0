"""Who is who among the channels: by device and index; the relid of a sub-channel is whatever is free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from lab.trace import MESSAGES, MessageDecoder
from protocol.ids import Relid
from protocol.journal import Record
from protocol.wire.guids import device_type
from protocol.wire.messages import OfferChannel


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that was offered: the relid of its device's primary, what the kernel calls such a device, its number.

    As text it is what a place of the comparison is called after.
    """

    primary: Relid
    kind: str
    instance_id: UUID
    index: int

    def __str__(self) -> str:
        device = f"relid {self.primary} ({self.kind or 'unknown'})"
        return f"sub-channel {self.index} of {device}" if self.index else device


class Channels:
    """The channels of a run, by relid."""

    def __init__(self) -> None:
        self._by_relid: dict[int, Channel] = {}
        self._primaries: dict[UUID, Relid] = {}

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Those that a journal's messages offer."""
        made, decoder = cls(), MessageDecoder()
        for record in records:
            if record.event in MESSAGES:
                message = decoder.decode(record.fields[2])
                if isinstance(message, OfferChannel):
                    made.add(message)
        return made

    def add(self, offer: OfferChannel) -> None:
        if not offer.sub_channel_index:
            self._primaries[offer.instance_id] = offer.relid
        kind = device_type(offer.class_id).irq_name
        primary = self._primaries[offer.instance_id]
        self._by_relid[offer.relid] = Channel(primary, kind, offer.instance_id, offer.sub_channel_index)

    def name(self, relid: int) -> str:
        """The channel as text; its relid, if nobody has offered it."""
        return str(self._by_relid.get(relid, f"relid {relid}"))

    def place(self, relid: int) -> tuple[int, int]:
        """Where it stands among the others: the relid of its primary, its index."""
        channel = self._by_relid.get(relid)
        return (channel.primary, channel.index) if channel else (relid, 0)

    def device(self, relid: int) -> Channel:
        """The primary channel of the device that this one belongs to."""
        return self._by_relid[self._by_relid[relid].primary]

    def order_of_sub_channels(self) -> list[UUID]:
        """The devices in the order in which the host has offered their first sub-channels."""
        return [channel.instance_id for channel in self._by_relid.values() if channel.index == 1]
