"""Pages to the host and back (``balloon_up``, ``balloon_down``)."""

from __future__ import annotations

from typing import Final

from guest.drivers.hv_balloon.pressure import compute_balloon_floor
from guest.drivers.hv_balloon.words import Ballooned, BalloonWords, DmState, next_trans_id
from guest.kernel.core import Core
from guest.kernel.pages import OutOfPages
from guest.vmbus.channel import VmbusChannel
from protocol.ids import Pfn
from protocol.wire.dynmem import (
    MAX_RANGES,
    PAGES_IN_2M,
    BalloonResponse,
    DmType,
    PageRange,
    UnballoonRequest,
    message,
)

RETRY_SECONDS: Final = 0.02
"""When the ring is full."""


async def balloon_up(core: Core, channel: VmbusChannel, words: BalloonWords, ballooned: Ballooned, pages: int) -> None:
    """Give so many pages to the host, or as many as there are above the floor; in units of 2 MiB while that works."""
    free, floor = core.pages.free_pages(), compute_balloon_floor(core.ram.pages)
    if free < pages + floor:
        reason = "Not enough memory." if free < pages else "Balloon floor reached."
        channel.bus.printk(f"hv_balloon: Balloon request will be partially fulfilled. {reason}")
        pages = max(0, free - floor)
        pages -= pages % PAGES_IN_2M
    unit, done = PAGES_IN_2M, False
    while not done:
        ranges = _allocate(core, pages, unit)
        if not ranges and unit != 1:
            unit = 1
            continue
        pages -= sum(each.pages for each in ranges)
        done = not ranges or not pages
        for each in ranges:
            ballooned.add(each)
            words.num_pages_ballooned += each.pages
        if done:
            words.state = DmState.INITIALIZED
            words.balloons += 1
        await _post(core, channel, words, DmType.BALLOON_RESPONSE, BalloonResponse(tuple(ranges), not done).encode())


async def balloon_down(
    core: Core, channel: VmbusChannel, words: BalloonWords, ballooned: Ballooned, request: UnballoonRequest
) -> None:
    """Take pages back. What the host does not have is counted and left alone; Linux would free it."""
    for each in request.ranges:
        if ballooned.remove(each):
            _free(core, each)
            words.num_pages_ballooned -= each.pages
        else:
            words.illegal += 1
    if request.more:
        return
    words.state = DmState.INITIALIZED
    words.unballoons += 1
    await _post(core, channel, words, DmType.UNBALLOON_RESPONSE, b"")


def _allocate(core: Core, pages: int, unit: int) -> list[PageRange]:
    """``alloc_balloon_pages``: as many units as fit into one message."""
    ranges: list[PageRange] = []
    try:
        while pages >= unit and len(ranges) < MAX_RANGES:
            ranges.append(PageRange(core.pages.allocate(unit), unit))
            pages -= unit
    except OutOfPages:
        pass
    return ranges


def _free(core: Core, pages: PageRange) -> None:
    """Page by page, as Linux does: a range may touch several of the pools that it came from."""
    for frame in range(pages.first, pages.first + pages.pages):
        core.pages.free(Pfn(frame))


async def _post(core: Core, channel: VmbusChannel, words: BalloonWords, type: DmType, body: bytes) -> None:
    """Send, and try again while the ring is full; not on a channel that is being closed."""
    payload = message(type, body, next_trans_id(words))
    while channel.mapped and not channel.send_packet(payload):
        await core.sleep(RETRY_SECONDS)
