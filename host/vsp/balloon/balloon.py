"""The host's end of dynamic memory (the guest is hv_balloon.c; OpenVMM has none)."""

from typing import Final
from uuid import UUID

from host.vsp.balloon.ledger import Ledger
from host.vsp.device import Offer, Services, Timer, VspChannel
from host.vsp.kind import Answered
from host.vsp.periodic import Periodic
from host.vsp.single_channel import SingleChannel
from protocol.errors import OperatorError, PeerError
from protocol.wire.dynmem import (
    MAX_RANGES,
    PAGES_IN_2M,
    VERSIONS,
    Accepted,
    BalloonRequest,
    BalloonResponse,
    Capabilities,
    DmCaps,
    DmType,
    MaxPageCount,
    Status,
    UnballoonRequest,
    VersionRequest,
    message,
    parse,
)
from protocol.wire.guids import HV_DM_GUID
from protocol.wire.offers import ChannelFlags

INSTANCE: Final = UUID("1eccfd72-4b41-45ef-b73a-4a6e44c12924")
INFO_DELAY: Final = 1.0
"""Seconds from the agreement to the news how large the guest may become (the third interrupt of an idle balloon)."""


class Balloon(SingleChannel):
    """Takes pages and gives them back when somebody asks, one transaction at a time.

    ``every``: seconds between transactions that it begins by itself, ``pages`` out and back in turn; 0: none.
    ``newest``: the newest version that it accepts. Simplified: a page that the guest has given away stays in its
    memory, and nobody looks whether the guest keeps off it.
    """

    name = "balloon"

    def __init__(
        self,
        services: Services,
        every: float = 0.0,
        pages: int = PAGES_IN_2M,
        newest: int = VERSIONS[0],
    ) -> None:
        super().__init__(services, Offer(HV_DM_GUID, INSTANCE, ChannelFlags.ENUMERATE_DEVICE_INTERFACE))
        self._accepted = tuple(version for version in VERSIONS if version <= newest)
        self._pages = pages
        self._guest_pages = 0
        self._ledger = Ledger()
        self._answered: Answered | None = None
        self._expected: DmType | None = None
        self._asked = self._moved = 0
        self._transaction = 0
        self._up = self._down = self._reports = self._informed = 0
        self._timer: Timer | None = None
        self._cycle = Periodic(services, every, self._turn)
        self.version: int | None = None
        self.ready = False
        self.status: Status | None = None
        """The guest's last report; Linux sends the first after 45 s."""

    def counts(self) -> dict[str, int]:
        return {
            "ballooned_pages": self._ledger.pages,
            "balloons": self._up,
            "unballoons": self._down,
            "informed": self._informed,
            "status_reports": self._reports,
            "available_pages": self.status.available if self.status else 0,
            "committed_pages": self.status.committed if self.status else 0,
        }

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self._guest_pages = channel.ram.pages
        super().open(channel, user_data)

    def reset(self) -> None:
        """A guest that has closed the channel has all of its pages."""
        self.version, self.ready, self.status = None, False, None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._cycle.stop()
        self._ledger.clear()
        self._finish(None)

    # --- what an operator does --------------------------------------------------------------------------------------

    def inflate(self, answered: Answered, pages: int) -> None:
        """Ask for pages, a multiple of 512; the guest gives what it can spare.

        The answer is how many pages have changed hands. Raises OperatorError.
        """
        if pages <= 0 or pages % PAGES_IN_2M:
            raise OperatorError(f"{pages} pages: the host takes memory in units of {PAGES_IN_2M}")
        self._begin(DmType.BALLOON_RESPONSE, answered)
        self._asked = pages
        self._post(DmType.BALLOON_REQUEST, BalloonRequest(pages).encode())

    def deflate(self, answered: Answered, pages: int) -> None:
        """Give pages back, as many as there are at most. Raises OperatorError as ``inflate`` does."""
        if pages <= 0:
            raise OperatorError(f"{pages} pages: give back one at least")
        self._begin(DmType.UNBALLOON_RESPONSE, answered)
        ranges = self._ledger.take(pages)
        self._moved = sum(each.pages for each in ranges)
        for start in range(0, max(1, len(ranges)), MAX_RANGES):
            part = tuple(ranges[start : start + MAX_RANGES])
            more = start + MAX_RANGES < len(ranges)
            self._post(DmType.UNBALLOON_REQUEST, UnballoonRequest(part, more).encode())

    def _begin(self, expected: DmType, answered: Answered) -> None:
        if not self.ready:
            raise OperatorError("the guest has no balloon: is its hv_balloon driver loaded?")
        if self._expected is not None:
            raise OperatorError("the balloon is moving: wait for the guest's answer")
        self._expected, self._answered, self._moved = expected, answered, 0

    def _finish(self, moved: int | None) -> None:
        answered, self._answered, self._expected = self._answered, None, None
        if answered:
            answered(moved)

    def _turn(self) -> None:
        if self._expected is not None:
            return
        if self._ledger.pages:
            self.deflate(lambda _: None, self._ledger.pages)
        else:
            self.inflate(lambda _: None, self._pages)

    # --- what the guest says ----------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        header, body = parse(payload)
        match header.type:
            case DmType.VERSION_REQUEST if not self.ready:
                self._agree(VersionRequest.decode(body).version)
            case DmType.CAPABILITIES_REPORT if self.version is not None and not self.ready:
                self._report(Capabilities.decode(body))
            case DmType.STATUS_REPORT if self.ready:
                self.status = Status.decode(body)
                self._reports += 1
            case DmType.BALLOON_RESPONSE | DmType.UNBALLOON_RESPONSE if header.type == self._expected:
                self._answer(header.type, body)
            case other:
                raise PeerError(f"balloon: message {other} from the guest, which is out of order")

    def _agree(self, version: int) -> None:
        """Linux goes down its list while the answer is no."""
        self.version = version if version in self._accepted else None
        self._post(DmType.VERSION_RESPONSE, Accepted(int(self.version is not None)).encode())

    def _report(self, capabilities: Capabilities) -> None:
        self.ready = bool(capabilities.caps & DmCaps.BALLOON)
        self._post(DmType.CAPABILITIES_RESPONSE, Accepted(int(self.ready)).encode())
        if self.ready:
            self._timer = self._services.call_later(INFO_DELAY, self._inform)
            self._cycle.start()

    def _inform(self) -> None:
        self._informed += 1
        self._post(DmType.INFO_MESSAGE, MaxPageCount.of(self._guest_pages).encode())

    def _answer(self, type: int, body: bytes) -> None:
        """The last part of an answer ends the transaction, also if the pages in it are refused."""
        if type == DmType.UNBALLOON_RESPONSE:
            self._down += 1
            self._finish(self._moved)
            return
        response = BalloonResponse.decode(body)
        try:
            given = sum(each.pages for each in response.ranges)
            if self._moved + given > self._asked:
                raise PeerError(f"balloon: {self._moved + given} pages from the guest, {self._asked} were asked for")
            self._ledger.add(response.ranges, self._guest_pages)
            self._moved += given
        finally:
            if not response.more:
                self._up += 1
                self._finish(self._moved)

    def _post(self, type: DmType, body: bytes) -> None:
        self._transaction += 1
        self.post(message(type, body, self._transaction))
