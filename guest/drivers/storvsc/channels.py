"""Which channel of a controller a request takes (``stor_chns`` and ``alloced_cpus`` of drivers/scsi/storvsc_drv.c)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from guest.drivers.storvsc.words import StorvscDevice
from guest.kernel.locks import IrqSpinLock
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.words import ChannelState
from protocol.ids import Cpu

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

RING_AVAIL_PERCENT_LOWATER: Final = 10
"""``ring_avail_percent_lowater``: a ring with no more room than this is busy."""


class OutgoingChannels:
    """One CPU's view of a controller's channels. ``lock`` is ``stor_device->lock``.

    ``stor_chns`` has the channel of each CPU that one interrupts, and for the other CPUs what was decided when they
    first sent something, which stays until a channel moves.
    """

    def __init__(self, bus: Vmbus, words: StorvscDevice, primary: VmbusChannel, lock: IrqSpinLock) -> None:
        self._bus = bus
        self._words = words
        self._primary = primary
        self._lock = lock

    # --- who sends --------------------------------------------------------------------------------------------------

    def choose(self, cpu: Cpu) -> VmbusChannel:
        """The part of ``storvsc_do_io`` that finds the channel for a request from ``cpu``.

        A channel that interrupts this very CPU is the last choice on its node, so that completions are taken elsewhere.
        """
        channel = self._of(cpu)
        if channel is None:
            with self._lock:
                return self._of(cpu) or self._decide(cpu)
        if channel.target_cpu != cpu:
            return channel
        alloced, node = self._words.alloced_cpus, self._node(cpu)
        for near in _round_from(alloced & node & ~(1 << cpu), cpu + 1):
            other = self._of(near)
            if other is not None and _has_room(other):
                return other
        if _has_room(channel):
            return channel
        for far in _round_from(alloced & ~node, 0):
            other = self._of(far)
            if other is not None and _has_room(other):
                return other
        return channel

    def _of(self, cpu: Cpu) -> VmbusChannel | None:
        relid = self._words.stor_chns[cpu]
        return self._bus.channels.get(relid) if relid else None

    def _decide(self, cpu: Cpu) -> VmbusChannel:
        """``get_og_chn``: spread the CPUs of a node over its channels; where it has none they take the primary."""
        words = self._words
        near = list(_round_from(words.alloced_cpus & self._node(cpu), 0)) if words.num_sc else []
        chosen = self._of(near[cpu % len(near)]) if near else None
        channel = chosen or self._primary
        words.stor_chns[cpu] = channel.relid
        return channel

    def _node(self, cpu: Cpu) -> int:
        return next(node for node in self._bus.numa.topology.nodes if node >> cpu & 1)

    # --- channels come, move and go -----------------------------------------------------------------------------------

    def add(self, channel: VmbusChannel) -> None:
        """The channel is open. (``handle_sc_creation`` does this without the lock.)"""
        with self._lock:
            self._enter(channel)

    def moved(self, channel: VmbusChannel, old: Cpu) -> None:
        """``storvsc_change_target_cpu``: it interrupted ``old`` and interrupts another CPU now."""
        with self._lock:
            if not self._words.destroy:
                self._leave(channel, old)
                self._enter(channel)

    def lost(self, channel: VmbusChannel) -> None:
        """The host has taken a sub-channel back. Linux goes on to send on it, and those requests wait for ever."""
        with self._lock:
            self._leave(channel, channel.target_cpu)

    def _enter(self, channel: VmbusChannel) -> None:
        self._words.stor_chns[channel.target_cpu] = channel.relid
        self._words.alloced_cpus |= 1 << channel.target_cpu

    def _leave(self, channel: VmbusChannel, cpu: Cpu) -> None:
        """Another channel that interrupts ``cpu`` takes its place; what was derived from the table is forgotten."""
        words = self._words
        other = next((each for each in self._others(channel) if each.target_cpu == cpu), None)
        if other is not None:
            words.stor_chns[cpu] = other.relid
        else:
            words.alloced_cpus &= ~(1 << cpu)
        for derived in range(self._bus.core.cpus):
            if not words.alloced_cpus >> derived & 1:
                words.stor_chns[derived] = 0

    def _others(self, channel: VmbusChannel) -> Iterator[VmbusChannel]:
        """The channels that can be sent on. (Linux looks at those that are not open, too, and could choose one.)"""
        for each in (self._primary, *self._primary.sub_channels):
            if each is not channel and each.words.state == ChannelState.OPENED and not each.words.rescind:
                yield each


def _has_room(channel: VmbusChannel) -> bool:
    return channel.avail_to_write_percent > RING_AVAIL_PERCENT_LOWATER


def _round_from(mask: int, start: int) -> Iterator[Cpu]:
    """``for_each_cpu_wrap``: the CPUs of ``mask`` from ``start`` on, then those below it."""
    for part in (mask >> start << start, mask & (1 << start) - 1):
        while part:
            yield Cpu((part & -part).bit_length() - 1)
            part &= part - 1
