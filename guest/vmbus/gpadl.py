"""Lending guest memory to the host (drivers/hv/channel.c ``vmbus_establish_gpadl``, ``vmbus_teardown_gpadl``)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from guest.vmbus.errors import VmbusError
from protocol.ids import GpadlId, Pfn
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.messages import GpadlHeader, GpadlTeardown

if TYPE_CHECKING:
    from guest.vmbus.channel import VmbusChannel


async def vmbus_establish_gpadl(channel: VmbusChannel, first: Pfn, pages: int) -> GpadlId:
    """Lend ``pages`` contiguous pages. Raises EDQUOT if the host refuses, ENODEV if the channel is rescinded."""
    bus, words = channel.bus, channel.words
    handle = bus.requests.next_gpadl_handle()
    pfns = [Pfn(first + page) for page in range(pages)]
    request = bus.requests.add(GpadlHeader, channel.relid, handle)
    try:
        _check_rescind(channel)
        for message in split(channel.relid, handle, [GpaRange.whole_pages(pfns)]):
            await bus.poster.post(message)
        await request.waitevent.wait()
        if request.words.status:
            bus.printk(f"hv_vmbus: Failed to establish GPADL: err = {request.words.status:#x}")
            raise VmbusError(errno.EDQUOT, f"the host refused GPADL {handle:#x}")
        _check_rescind(channel)
    finally:
        bus.requests.remove(request)
    assert words.live
    return handle


async def vmbus_teardown_gpadl(channel: VmbusChannel, handle: GpadlId) -> None:
    """Ask for the pages back and wait until the host says so. A rescinded channel has lost its GPADLs already."""
    bus, words = channel.bus, channel.words
    request = bus.requests.add(GpadlTeardown, channel.relid, handle)
    try:
        if not words.rescind:
            await bus.poster.post(GpadlTeardown(channel.relid, handle))
            await request.waitevent.wait()
    except VmbusError:
        if not words.rescind:
            raise
    finally:
        bus.requests.remove(request)


def _check_rescind(channel: VmbusChannel) -> None:
    if channel.words.rescind:
        raise VmbusError(errno.ENODEV, f"channel {channel.relid} was rescinded")
