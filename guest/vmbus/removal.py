"""Taking a channel out of the world (drivers/hv/channel_mgmt.c)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from guest.vmbus.errors import VmbusError
from protocol.ids import Relid
from protocol.wire.messages import RelidReleased

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channel import VmbusChannel


async def unlink(channel: VmbusChannel) -> None:
    """Unmap the relid, take the channel off the lists of all CPUs, and give its IRQ number back. channel_mutex held.

    All of it before the relid is released: the host may offer it again at once.
    """
    bus = channel.bus
    bus.relids.unmap(channel)
    channel.words.live = 0
    await bus.channels.retire(channel.relid)
    bus.relids.forget(channel)
    words, former = channel.words, bus.tables.former[channel.relid]
    former.interrupts += words.interrupts
    former.no_callback += words.no_callback
    former.events += words.events


async def hv_process_channel_removal(channel: VmbusChannel) -> None:
    """Remove a rescinded channel; the CPU that it used can be given to others. channel_mutex held."""
    bus, target = channel.bus, channel.target_cpu
    assert channel.words.rescind, "only a rescinded channel is removed"
    await unlink(channel)
    if channel.type.perf and not bus.channels.perf_channel_on(target):
        bus.numa.clear_allocated_cpu(target)
    await vmbus_release_relid(bus, channel.relid)


async def vmbus_release_relid(bus: Vmbus, relid: Relid) -> None:
    """Tell the host that it may use the relid again. Linux does not look at whether that could be posted."""
    with suppress(VmbusError):
        await bus.poster.post(RelidReleased(relid))
