"""Opening and closing a channel (drivers/hv/channel.c ``__vmbus_open``, ``vmbus_close_internal``).

The state changes here, the order of what is sent, and what is undone when something fails are Linux's, with the one
addition that no CPU maps rings before they are initialised, and that all let go of them before their pages are freed.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from guest.kernel.pages import OutOfPages
from guest.vmbus.errors import VmbusError
from guest.vmbus.gpadl import vmbus_establish_gpadl, vmbus_teardown_gpadl
from guest.vmbus.removal import hv_process_channel_removal
from guest.vmbus.words import ChannelState
from protocol.ids import PAGE_SIZE, GpadlId, Pfn, VpIndex
from protocol.wire.messages import CloseChannel, OpenChannel
from protocol.wire.offers import USER_DEFINED_BYTES

if TYPE_CHECKING:
    from guest.vmbus.channel import VmbusChannel


async def vmbus_open(channel: VmbusChannel, send_bytes: int, recv_bytes: int, user_data: bytes) -> None:
    """Allocate the rings and open the channel; all is undone if that fails. See ``VmbusChannel.open`` for the errors.

    Linux looks at the state only after it has allocated (and overwritten the pointers to) the rings.
    """
    words = channel.words
    if words.state != ChannelState.OPEN:
        raise VmbusError(errno.EINVAL, f"channel {channel.relid} is in use")
    words.state = ChannelState.OPENING
    try:
        if words.ring_init:  # a close that failed has left the rings' pages to the host
            await _unmap_ring(channel)
        _alloc_ring(channel, send_bytes, recv_bytes)
        try:
            await _open_with_ring(channel, user_data)
        except VmbusError:
            await _free_ring(channel)
            raise
    except VmbusError:
        words.state = ChannelState.OPEN
        raise


def _alloc_ring(channel: VmbusChannel, send_bytes: int, recv_bytes: int) -> None:
    """``vmbus_alloc_ring``: both rings in one run of pages, the one to the host first."""
    if send_bytes % PAGE_SIZE or recv_bytes % PAGE_SIZE or min(send_bytes, recv_bytes) < 2 * PAGE_SIZE:
        raise VmbusError(errno.EINVAL, f"rings of {send_bytes} and {recv_bytes} bytes: give at least two whole pages")
    words = channel.words
    words.send_pages = send_bytes // PAGE_SIZE
    words.ring_pages = words.send_pages + recv_bytes // PAGE_SIZE
    try:
        words.ring_pfn = channel.bus.core.pages.allocate(words.ring_pages)
    except OutOfPages as error:
        raise VmbusError(errno.ENOMEM, str(error)) from None


async def _free_ring(channel: VmbusChannel) -> None:
    """``vmbus_free_ring``, after every CPU has unmapped it."""
    words = channel.words
    await _unmap_ring(channel)
    first, words.ring_pfn = Pfn(words.ring_pfn), 0
    channel.bus.core.pages.free(first, words.ring_pages)


async def _unmap_ring(channel: VmbusChannel) -> None:
    """On every CPU. Until then the words must say where it is: another CPU may have begun to map it."""
    channel.words.ring_init = 0
    await channel.bus.channels.retire(channel.relid)


async def _open_with_ring(channel: VmbusChannel, user_data: bytes) -> None:
    """GPADL, rings, IRQ, OPENCHANNEL.

    The callback is enabled when the rings are there; Linux sets it first, but no interrupt can come in between that
    finds anything in the ring. For the same reason it is disabled again when the open fails.
    """
    bus, words = channel.bus, channel.words
    words.gpadl = await vmbus_establish_gpadl(channel, Pfn(words.ring_pfn), words.ring_pages)
    try:
        for ring in channel.map_rings():
            ring.init()
        words.ring_init = 1
        with channel.sched_lock:
            words.callback = 1
        bus.relids.request(channel)
        try:
            await _post_open(channel, user_data)
        except VmbusError:
            bus.relids.release(channel)
            raise
    except VmbusError:
        stop_callback(channel)
        with suppress(VmbusError):
            await vmbus_teardown_gpadl(channel, GpadlId(words.gpadl))
        raise
    words.state = ChannelState.OPENED


async def _post_open(channel: VmbusChannel, user_data: bytes) -> None:
    bus, words, relid = channel.bus, channel.words, channel.relid
    request = bus.requests.add(OpenChannel, relid, relid)
    message = OpenChannel(
        relid,
        open_id=relid,
        ring_gpadl=GpadlId(words.gpadl),
        target_vp=VpIndex(words.target_cpu),
        downstream_page=words.send_pages,
        user_data=user_data.ljust(USER_DEFINED_BYTES, b"\0"),
    )
    try:
        if not words.rescind:
            await bus.poster.post(message)
            await request.waitevent.wait()
        if words.rescind:
            raise VmbusError(errno.ENODEV, f"channel {relid} was rescinded")
        if request.words.status:
            raise VmbusError(errno.EAGAIN, f"the host refused to open channel {relid}")
    finally:
        bus.requests.remove(request)


def stop_callback(channel: VmbusChannel) -> None:
    """No CPU is in the channel's callback, and none will be until it is enabled again (``vmbus_reset_channel_cb``).

    Waits for another CPU's tasklet without suspending the task, as ``tasklet_disable`` may.
    """
    tasklet = channel.callback_event
    tasklet.disable()
    while not tasklet.idle:
        channel.bus.relax()
    with channel.sched_lock:
        channel.words.callback = 0
    tasklet.enable()


def vmbus_reset_channel_cb(channel: VmbusChannel) -> None:
    """No more callbacks of either kind."""
    stop_callback(channel)
    channel.words.sc_creation_callback = 0


async def vmbus_close(channel: VmbusChannel) -> None:
    """``vmbus_disconnect_ring`` and ``vmbus_free_ring``: close the sub-channels, then the primary.

    A sub-channel that is being rescinded is removed here, because only its closing lets go of it.
    """
    if channel.primary is not None:
        return
    for each in list(channel.sub_channels):
        await close_sub_channel(each)
    async with channel.bus.channel_mutex:
        closed = await _close_internal(channel)
    if closed:
        await _free_ring(channel)


async def close_sub_channel(channel: VmbusChannel) -> None:
    """The part of ``vmbus_disconnect_ring`` for one of them. Nothing happens if it is not open."""
    if channel.words.rescind:
        await channel.rescind_event.wait()
    async with channel.bus.channel_mutex:
        if await _close_internal(channel):
            await _free_ring(channel)
            if channel.words.rescind:
                await hv_process_channel_removal(channel)


async def _close_internal(channel: VmbusChannel) -> bool:
    """CLOSECHANNEL and, unless the channel is rescinded, the ring's GPADL back. False: the rings must not be freed.

    The IRQ of the channel is left requested (RFC as posted); legacy has none.
    """
    words, bus = channel.words, channel.bus
    vmbus_reset_channel_cb(channel)
    if words.state != ChannelState.OPENED:
        return False
    words.state = ChannelState.OPEN
    try:
        await bus.poster.post(CloseChannel(channel.relid))
        await vmbus_teardown_gpadl(channel, GpadlId(words.gpadl))
    except VmbusError as error:
        bus.printk(f"hv_vmbus: Close failed: {error.strerror}")
        return False
    return True
