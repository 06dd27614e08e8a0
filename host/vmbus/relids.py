"""Who has which relid (``child_relid``: the channel's number and its event flag)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host.vmbus.counts import Counts
from protocol.errors import OperatorError, PeerError
from protocol.ids import Relid

if TYPE_CHECKING:
    from host.vmbus.channel import Channel

LAST: Final = Relid(2047)
"""A SINT's area of the event-flags page has 2048 flags, and flag 0 is nobody's."""


class UnknownRelid(PeerError):
    """The guest named a channel that it was not offered, or has released."""


class Relids:
    """The relid space of one connection: the lowest free number first, and numbers that offers have pinned."""

    def __init__(self) -> None:
        self._channels: dict[Relid, Channel] = {}
        self._pinned: set[Relid] = set()
        self._promised = 0
        self._counts: dict[Relid, Counts] = {}
        self._since: dict[Relid, Counts] = {}

    def promise(self, pin: Relid | None) -> None:
        """Make sure that a new channel will get a relid, ``pin`` if it is given.  OperatorError."""
        if self._promised >= LAST:
            raise OperatorError(f"offer at most {LAST} channels on one connection")
        if pin is not None:
            if not 1 <= pin <= LAST:
                raise OperatorError(f"pin a relid between 1 and {LAST}, not {pin}")
            if pin in self._pinned or pin in self._channels:
                raise OperatorError(f"pin another relid: {pin} is taken")
            self._pinned.add(pin)
        self._promised += 1

    def withdraw(self, pin: Relid | None) -> None:
        """The channel that was promised a relid is gone."""
        self._promised -= 1
        if pin is not None:
            self._pinned.discard(pin)

    def assign(self, pin: Relid | None, channel: "Channel") -> Relid:
        """The relid of a channel that is about to be offered to the guest."""
        relid = self._lowest() if pin is None else pin
        self._channels[relid] = channel
        self._since[relid] = replace(channel.counts)
        return relid

    def free(self, relid: Relid) -> None:
        """The guest has released it: only now may another channel get it."""
        self._counts[relid] = self._counted(relid)
        del self._channels[relid]

    def counts(self) -> dict[Relid, Counts]:
        """What was counted under each relid, over all the channels that have had it."""
        return {relid: self._counted(relid) for relid in sorted({*self._counts, *self._channels})}

    def _counted(self, relid: Relid) -> Counts:
        counts = replace(self._counts.get(relid, Counts()))
        channel = self._channels.get(relid)
        if channel is not None:
            counts.add(channel.counts, self._since[relid])
        return counts

    def find(self, relid: Relid) -> "Channel":
        """The channel that the guest means.  UnknownRelid."""
        channel = self._channels.get(relid)
        if channel is None:
            raise UnknownRelid(f"there is no channel {relid}")
        return channel

    def _lowest(self) -> Relid:
        numbers = (Relid(number) for number in range(1, LAST + 1))
        return next(number for number in numbers if number not in self._channels and number not in self._pinned)
