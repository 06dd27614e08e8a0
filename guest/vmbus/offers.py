"""The host offers a channel (drivers/hv/channel_mgmt.c ``vmbus_onoffer`` to ``vmbus_add_channel_work``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guest.vmbus.removal import unlink, vmbus_release_relid
from guest.vmbus.words import MAX_CHANNEL_RELIDS, ChannelState, ChannelWords
from protocol.ids import Cpu, Relid
from protocol.wire.guids import UNSUPPORTED, device_type
from protocol.wire.messages import ChannelFlags, OfferChannel, encode

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channel import VmbusChannel


async def vmbus_onoffer(bus: Vmbus, offer: OfferChannel) -> None:
    """Make a channel of the offer, on the ordered queue; a driver gets it later, on a queue of its own.

    Not modelled: isolated VMs, and the re-offers after hibernation. So a second primary with the instance GUID of a
    known one is an error of the host here, and is dropped without releasing its relid.
    """
    connection = bus.tables.connection
    if bus.policy.drops_unsupported_offers and offer.class_id in UNSUPPORTED:
        connection.offer_in_progress -= 1
        return
    if not 0 < offer.relid < MAX_CHANNEL_RELIDS:
        connection.offer_in_progress -= 1
        bus.printk(f"WARNING: vmbus_channel_map_relid: relid {offer.relid}")
        await _give_back(bus, offer.relid)
        return
    await vmbus_process_offer(bus, offer)


async def _give_back(bus: Vmbus, relid: Relid) -> None:
    """A channel that cannot be used is freed before its kobject is initialised (defect D13 of the series)."""
    await vmbus_release_relid(bus, relid)
    if bus.policy.channel_irqs:
        bus.printk("WARNING: kobject: '(null)': is not initialized, yet kobject_put() is being called.")
        bus.printk("WARNING: refcount_t: underflow; use-after-free.")


async def vmbus_process_offer(bus: Vmbus, offer: OfferChannel) -> None:
    """Under channel_mutex: is it a sub-channel, which CPU shall it interrupt; then into the list of channels.

    No CPU goes offline between the choice and the moment at which its walk over the list would find the channel.
    """
    async with bus.cpus_read_lock(), bus.channel_mutex:
        primary = next(
            (
                channel
                for channel in bus.channels.primaries()
                if (channel.offer.class_id, channel.offer.instance_id) == (offer.class_id, offer.instance_id)
            ),
            None,
        )
        bus.tables.connection.offer_in_progress -= 1
        if bus.channels.get(offer.relid) is not None or (primary is not None and not offer.sub_channel_index):
            bus.printk(f"hv_vmbus: WARNING: offer of relid {offer.relid} repeats a channel that exists")
            return
        words = _setup_channel_state(bus, offer, primary)
        words.target_cpu = _init_vp_index(bus, offer, primary)
        words.live = 1
        channel = bus.channels[offer.relid]
        mapped = bus.relids.map(channel)
    queue = bus.primary_queue if primary is None else bus.sub_queue
    queue.queue(lambda: vmbus_add_channel_work(channel, mapped))


def _setup_channel_state(bus: Vmbus, offer: OfferChannel, primary: VmbusChannel | None) -> ChannelWords:
    """``vmbus_setup_channel_state``, in words that still hold what the last channel of this relid left."""
    words = bus.tables.channels[offer.relid]
    words.memory[words.base : words.base + words.size] = memoryview(bytes(8 * words.size)).cast("Q")
    bus.tables.rescind_events[offer.relid].done = 0
    words.offer = encode(offer, bus.poster.dialect)
    words.sub_channel_index = offer.sub_channel_index
    words.primary_relid = primary.relid if primary is not None else 0
    kind = device_type(offer.class_id, bool(offer.flags & ChannelFlags.TLNPI_PROVIDER_OFFER))
    words.irq_name = kind.irq_name
    if not kind.irq_name:
        bus.printk(f"hv_vmbus: Unknown GUID: {offer.class_id}")
    return words


def _init_vp_index(bus: Vmbus, offer: OfferChannel, primary: VmbusChannel | None) -> Cpu:
    kind = device_type(offer.class_id, bool(offer.flags & ChannelFlags.TLNPI_PROVIDER_OFFER))
    siblings = [] if primary is None else [primary, *primary.sub_channels]

    def cpuself_used(cpu: Cpu) -> bool:
        return any(channel.target_cpu == cpu for channel in siblings)

    return bus.numa.init_vp_index(kind.perf, offer.sub_channel_index, cpuself_used)


async def vmbus_add_channel_work(channel: VmbusChannel, mapped: bool) -> None:
    """Give the channel to a driver: a primary becomes a device, a sub-channel goes to the driver of its primary.

    A channel that got no IRQ is given back to the host (RFC patch 8).
    """
    bus, words, primary = channel.bus, channel.words, channel.primary
    if not mapped:
        async with bus.channel_mutex:
            words.probe_done = 1
            await unlink(channel)
        await _give_back(bus, channel.relid)
        return
    words.state = ChannelState.OPEN
    if primary is None:
        bus.probing.attach(channel.device)
    elif primary.words.sc_creation_callback and primary.driver is not None:
        with bus.core.oops.containing("sc_creation_callback"):
            await primary.driver.sc_creation_callback(channel)
    words.probe_done = 1
