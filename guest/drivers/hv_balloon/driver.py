"""hv_balloon as the bus sees it: negotiation, and what the host asks for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from guest.drivers.conversation import ConversingDriver, answer, answered, opened, send
from guest.drivers.hv_balloon.pressure import status
from guest.drivers.hv_balloon.transactions import balloon_down, balloon_up
from guest.drivers.hv_balloon.words import Ballooned, BalloonWords, DmState, next_trans_id
from guest.kernel.core import Core
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE
from protocol.wire.dynmem import (
    INFO_TYPE_MAX_PAGE_CNT,
    VERSIONS,
    Accepted,
    BalloonRequest,
    Capabilities,
    DmCaps,
    DmType,
    MaxPageCount,
    UnballoonRequest,
    VersionRequest,
    message,
    parse,
)
from protocol.wire.guids import HV_DM_GUID
from protocol.wire.layout import Readable

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

RING_SIZE: Final = 5 * PAGE_SIZE
"""``dm_ring_size``, each way."""
TIMEOUT: Final = 5.0
PRESSURE_REPORT_DELAY: Final = 45
"""Seconds before the first report (``pressure_report_delay``)."""


class HvBalloon(ConversingDriver[BalloonWords]):
    """``balloon_drv``. Simplified: no hot add, which is not offered; pages are taken back in process context."""

    name = "hv_balloon"
    id_table = (HV_DM_GUID,)
    words = BalloonWords

    def __init__(self, core: Core, bus: Vmbus) -> None:
        super().__init__(core, bus)
        self._ballooned = Ballooned(core)

    async def probe(self, device: VmbusDevice) -> None:
        """``balloon_probe``. Raises ETIMEDOUT, also if the host accepts no version or not the capabilities."""
        channel = device.channel
        words = channel.state(BalloonWords)
        words.state, words.should_stop, words.stopped = DmState.INITIALIZING, 0, 0
        async with opened(channel, RING_SIZE):
            await self._negotiate(channel, words)
            await self._introduce(channel, words)
        words.state = DmState.INITIALIZED
        self.core.sched.spawn(self._thread(channel, words), "hv_balloon")

    async def remove(self, device: VmbusDevice) -> None:
        """``balloon_remove``. What the host has stays with it."""
        channel = device.channel
        words = channel.state(BalloonWords)
        if words.num_pages_ballooned:
            self.bus.printk(f"hv_balloon: Ballooned pages: {words.num_pages_ballooned}")
        queue = self.core.wait_queue(words)
        words.should_stop = 1
        queue.wake_up()
        await queue.wait_event(lambda: words.stopped != 0)
        await super().remove(device)

    async def _negotiate(self, channel: VmbusChannel, words: BalloonWords) -> None:
        words.host_events = words.next_version = 0
        self._request_version(channel, words)
        await self._host_event(channel, words)
        major, minor = words.version >> 16, words.version & 0xFF
        self.bus.printk(f"hv_balloon: Using Dynamic Memory protocol version {major}.{minor}")

    async def _introduce(self, channel: VmbusChannel, words: BalloonWords) -> None:
        words.host_events = 0
        capabilities = Capabilities(DmCaps.BALLOON).encode()
        send(channel, message(DmType.CAPABILITIES_REPORT, capabilities, next_trans_id(words)))
        await self._host_event(channel, words)

    @staticmethod
    async def _host_event(channel: VmbusChannel, words: BalloonWords) -> None:
        await answer(channel, words, lambda: words.host_events != 0, TIMEOUT)
        if words.state == DmState.INIT_ERROR:
            raise VmbusError(errno.ETIMEDOUT, "the host does not accept the balloon")

    @staticmethod
    def _request_version(channel: VmbusChannel, words: BalloonWords) -> None:
        """The next of the list."""
        words.version = VERSIONS[words.next_version]
        words.next_version += 1
        request = VersionRequest(words.version, int(words.next_version == len(VERSIONS))).encode()
        send(channel, message(DmType.VERSION_REQUEST, request, next_trans_id(words)))

    async def _thread(self, channel: VmbusChannel, words: BalloonWords) -> None:
        """``dm_thread_func``: every second a report of the guest's memory, after the first ones have been left out."""
        queue, delay = self.core.wait_queue(words), PRESSURE_REPORT_DELAY
        while not await queue.wait_event_timeout(lambda: words.should_stop != 0, 1.0):
            if delay:
                delay -= 1
                continue
            pages = self.core.pages
            report = status(pages.free_pages(), self.core.ram.pages, words.num_pages_ballooned)
            if channel.send_packet(message(DmType.STATUS_REPORT, report.encode(), next_trans_id(words))):
                words.status_reports += 1
        words.stopped = 1
        queue.wake_up()

    # --- softirq context ----------------------------------------------------------------------------------------------

    def receive(self, channel: VmbusChannel, words: BalloonWords, payload: Readable) -> None:
        """``balloon_onchannelcallback``."""
        header, body = parse(payload)
        match header.type:
            case DmType.VERSION_RESPONSE:
                self._version_resp(channel, words, bool(Accepted.decode(body).is_accepted))
            case DmType.CAPABILITIES_RESPONSE:
                if not Accepted.decode(body).is_accepted:
                    self.bus.printk("hv_balloon: Capabilities not accepted by host")
                    words.state = DmState.INIT_ERROR
                self._complete(channel, words)
            case DmType.BALLOON_REQUEST:
                pages = BalloonRequest.decode(body).pages
                words.state = DmState.BALLOON_UP
                work = balloon_up(self.core, channel, words, self._ballooned, pages)
                self.core.sched.spawn(work, "balloon_up")
            case DmType.UNBALLOON_REQUEST:
                request = UnballoonRequest.decode(body)
                words.state = DmState.BALLOON_DOWN
                down = balloon_down(self.core, channel, words, self._ballooned, request)
                self.core.sched.spawn(down, "balloon_down")
            case DmType.INFO_MESSAGE:
                self._process_info(words, MaxPageCount.decode(body))
            case _:
                words.illegal += 1

    def _version_resp(self, channel: VmbusChannel, words: BalloonWords, accepted: bool) -> None:
        """``version_resp``: the next version is tried from here."""
        if not accepted and words.next_version < len(VERSIONS):
            self._request_version(channel, words)
            return
        if not accepted:
            words.state = DmState.INIT_ERROR
        self._complete(channel, words)

    @staticmethod
    def _complete(channel: VmbusChannel, words: BalloonWords) -> None:
        words.host_events += 1
        answered(channel, words)

    def _process_info(self, words: BalloonWords, info: MaxPageCount) -> None:
        """``process_info``."""
        if info.info_type == INFO_TYPE_MAX_PAGE_CNT and info.data_size == 8:
            words.max_pages = info.pages
            self.bus.printk(f"hv_balloon: Max. dynamic memory size: {info.pages * PAGE_SIZE >> 20} MB")
