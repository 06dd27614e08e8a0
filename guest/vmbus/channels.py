"""One CPU's views of the channels: made when it first looks one up, and taken back from all CPUs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.dispatch import vmbus_chan_handler
from guest.vmbus.words import MAX_CHANNEL_RELIDS, ChannelWords
from protocol.ids import Cpu, Relid

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


class ChannelTable:
    """``vmbus_connection.chn_list`` and, for interrupts, the handler of each relid.

    A channel is there as soon as its words are ``live``; most CPUs never look at most channels. What the words say no
    longer is different: ``retire(relid)`` returns when no CPU has the rings, or the channel, that are gone. It is also
    the grace period, since no handler is interrupted by it.
    """

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        self._words = bus.tables.channels
        self._by_relid: dict[int, VmbusChannel] = {}
        self.handlers: list[Callable[[], None] | None] = [None] * MAX_CHANNEL_RELIDS
        self.retire = bus.core.call_on_all(self._let_go)
        self._moved: dict[int, tuple[int, int]] = {}

    def ring_bytes(self) -> dict[int, tuple[int, int]]:
        """Bytes that this CPU has (written, read), by the GPADL of rings in use: those of former views included."""
        moved = dict(self._moved)
        for channel in self._by_relid.values():
            _add(moved, channel)
        return moved

    def get(self, relid: int) -> VmbusChannel | None:
        channel = self._by_relid.get(relid)
        if channel is None and 0 <= relid < MAX_CHANNEL_RELIDS and self._words[relid].live:
            channel = self._create(Relid(relid))
        return channel

    def __getitem__(self, relid: int) -> VmbusChannel:
        channel = self.get(relid)
        if channel is None:
            raise KeyError(relid)
        return channel

    def __iter__(self) -> Iterator[VmbusChannel]:
        """All of them; on the connect CPU in the order of the offers, sub-channels among the others."""
        for relid in self._live():
            self.get(relid)
        return iter(list(self._by_relid.values()))

    def handler(self, relid: int) -> Callable[[], None] | None:
        """The handler of a relid that ``handlers`` may not have yet. None: there is no channel."""
        self.get(relid)
        return self.handlers[relid]

    def reachable(self) -> list[int]:
        """The relids whose interrupts on this CPU reach a channel."""
        live = set(self._live())
        return [
            relid
            for relid in range(MAX_CHANNEL_RELIDS)
            if self.handlers[relid] or (relid in live and relid not in self._by_relid)
        ]

    def sub_channels(self, primary: VmbusChannel) -> list[VmbusChannel]:
        return [channel for channel in self if channel.primary is primary]

    def primaries(self) -> Iterator[VmbusChannel]:
        return (channel for channel in self if channel.primary is None)

    def perf_channel_on(self, cpu: Cpu) -> bool:
        """``hv_is_allocated_cpu``: a channel of a performance-critical device interrupts there."""
        return any(channel.type.perf for channel in self.on(cpu))

    def on(self, cpu: Cpu) -> list[VmbusChannel]:
        """Those that interrupt ``cpu``, open or not."""
        targets = self._words.column(ChannelWords.target_cpu)
        found = [self.get(relid) for relid in self._live() if targets[relid] == cpu]
        return [channel for channel in found if channel is not None]

    def forget_all(self) -> None:
        """This CPU was offline while others retired channels. Interrupts are off.

        No view is kept: a relid may have been given to another channel meanwhile.
        """
        for channel in list(self._by_relid.values()):
            _add(self._moved, channel)
            self._forget(channel)
        in_use = set(self._words.column(ChannelWords.gpadl))
        self._moved = {gpadl: moved for gpadl, moved in self._moved.items() if gpadl in in_use}

    def _live(self) -> list[int]:
        return [relid for relid, live in enumerate(self._words.column(ChannelWords.live)) if live]

    def _let_go(self, relid: int) -> None:
        """Of what is gone; in interrupt context, except on the CPU that retires."""
        words, channel = self._words[relid], self._by_relid.get(relid)
        if channel is None:
            return
        if not words.live:
            self._moved.pop(channel.ring_gpadl, None)
            self._forget(channel)
        elif not words.ring_init:
            channel.unmap_rings()

    def _create(self, relid: Relid) -> VmbusChannel:
        """Nothing interrupts it, so a channel that is being retired is there to its end. A sub-channel may outlive its
        primary, as the host pleases; then a new view of it has none."""
        bus, above = self._bus, self._words[relid].primary_relid
        channel = VmbusChannel(bus, relid, self.get(above) if above else None)
        channel.device = VmbusDevice(channel) if channel.primary is None else channel.primary.device
        self._by_relid[relid] = channel
        self.handlers[relid] = vmbus_chan_handler(channel, bus.counts)
        return channel

    def _forget(self, channel: VmbusChannel) -> None:
        self.handlers[channel.relid] = None
        del self._by_relid[channel.relid]


def _add(moved: dict[int, tuple[int, int]], channel: VmbusChannel) -> None:
    more_written, more_read = channel.ring_bytes
    if not more_written and not more_read:
        return
    written, read = moved.get(channel.ring_gpadl, (0, 0))
    moved[channel.ring_gpadl] = written + more_written, read + more_read
