"""The host takes a channel back (drivers/hv/channel_mgmt.c ``vmbus_onoffer_rescind``). On a work queue of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest.vmbus.device import unbind
from guest.vmbus.opening import vmbus_reset_channel_cb
from guest.vmbus.removal import hv_process_channel_removal
from guest.vmbus.words import ChannelState
from protocol.ids import Relid

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channel import VmbusChannel

POLL: Final = 0.001
"""``msleep(1)``."""


async def vmbus_onoffer_rescind(bus: Vmbus, relid: Relid) -> None:
    """Stop the callback, wake whoever waits for the host's answer, unbind the driver, remove the channel.

    Offers that came before are worked off first. A relid without a channel (an offer that was dropped) is ignored,
    and nothing is sent for it. A second rescind of the same channel is ignored. Not modelled: hv_sock's own callback.
    """
    connection = bus.tables.connection
    while connection.offer_in_progress:
        await bus.core.sleep(POLL)
    async with bus.channel_mutex:
        channel = bus.channels.get(relid)
        if channel is None or channel.words.rescind_ref:
            return
        channel.words.rescind_ref = 1
    vmbus_reset_channel_cb(channel)
    channel.words.rescind = 1
    bus.requests.wake_waiting(relid)
    if channel.driver is not None:
        with bus.core.oops.containing("rescinded"):
            channel.driver.rescinded(channel)
    while not channel.words.probe_done:
        await bus.core.sleep(POLL)
    if bus.channels.get(relid) is not channel:
        return  # its probe failed so badly that it is gone already
    if channel.primary is None:
        await unbind(channel.device)
        async with bus.channel_mutex:
            await hv_process_channel_removal(channel)
    else:
        await _rescind_sub_channel(channel)


async def _rescind_sub_channel(channel: VmbusChannel) -> None:
    """An open sub-channel is only marked: it goes when its primary is closed."""
    async with channel.bus.channel_mutex:
        if channel.words.state == ChannelState.OPEN:
            await hv_process_channel_removal(channel)
        else:
            channel.rescind_event.complete()
