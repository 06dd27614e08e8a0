"""The channels that one CPU knows, and how a new one is made known to all CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.dispatch import vmbus_chan_handler
from guest.vmbus.words import MAX_CHANNEL_RELIDS
from protocol.ids import Cpu, Relid

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


class ChannelTable:
    """``vmbus_connection.chn_list`` and, for interrupts, the handler of each relid.

    ``publish(relid)`` returns when every CPU has made its view match the words of ``relid``: created it, mapped or
    unmapped its rings, or forgotten it. It is also the grace period, since no handler is interrupted by it.
    """

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        self._by_relid: dict[int, VmbusChannel] = {}
        self.handlers: list[Callable[[], None] | None] = [None] * MAX_CHANNEL_RELIDS
        self.publish = bus.core.call_on_all(self._match)
        self._moved: dict[int, tuple[int, int]] = {}

    def ring_bytes(self) -> dict[int, tuple[int, int]]:
        """Bytes that this CPU has (written, read), by the GPADL of the rings: those of views that are gone included."""
        moved = dict(self._moved)
        for channel in self:
            if channel.mapped:
                _add(moved, channel)
        return moved

    def get(self, relid: int) -> VmbusChannel | None:
        return self._by_relid.get(relid)

    def __getitem__(self, relid: int) -> VmbusChannel:
        return self._by_relid[relid]

    def __iter__(self) -> Iterator[VmbusChannel]:
        """In the order of the offers, sub-channels among the others."""
        return iter(self._by_relid.values())

    def primaries(self) -> Iterator[VmbusChannel]:
        return (channel for channel in self if channel.primary is None)

    def perf_channel_on(self, cpu: Cpu) -> bool:
        """``hv_is_allocated_cpu``: a channel of a performance-critical device interrupts there."""
        return any(channel.type.perf and channel.target_cpu == cpu for channel in self)

    def rebuild(self) -> None:
        """Make this CPU's views anew, since it was offline while others published. Interrupts are off.

        None is kept: a relid may have been given to another channel meanwhile. Primaries come first.
        """
        for channel in list(self):
            self._forget(channel)
        words = self._bus.tables.channels
        live = [relid for relid in range(MAX_CHANNEL_RELIDS) if words[relid].live]
        for relid in sorted(live, key=lambda relid: words[relid].primary_relid != 0):
            self._match(relid)

    def _match(self, relid: int) -> None:
        """Make this CPU's view match the words; in interrupt context, except on the CPU that publishes."""
        words = self._bus.tables.channels[relid]
        channel = self._by_relid.get(relid)
        if not words.live:
            if channel is not None:
                self._forget(channel)
            return
        if channel is None:
            channel = self._create(Relid(relid), self._by_relid.get(words.primary_relid))
        if not words.ring_pfn:
            channel.unmap_rings()
        elif not channel.mapped:
            channel.map_rings()

    def _create(self, relid: Relid, primary: VmbusChannel | None) -> VmbusChannel:
        bus = self._bus
        channel = VmbusChannel(bus, relid, primary)
        if primary is None:
            channel.device = VmbusDevice(channel)
        else:
            channel.device = primary.device
            primary.sub_channels.append(channel)
        self._by_relid[relid] = channel
        self.handlers[relid] = vmbus_chan_handler(channel, bus.counts)
        return channel

    def _forget(self, channel: VmbusChannel) -> None:
        if channel.mapped:
            _add(self._moved, channel)
        self.handlers[channel.relid] = None
        del self._by_relid[channel.relid]
        if channel.primary is not None:
            channel.primary.sub_channels.remove(channel)


def _add(moved: dict[int, tuple[int, int]], channel: VmbusChannel) -> None:
    written, read = moved.get(channel.ring_gpadl, (0, 0))
    more_written, more_read = channel.ring_bytes
    moved[channel.ring_gpadl] = written + more_written, read + more_read
