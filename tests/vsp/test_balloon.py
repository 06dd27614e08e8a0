"""Dynamic memory of the host: the handshake, transactions, and guests that lie about their pages."""

from __future__ import annotations

import pytest

from host.vsp.balloon.balloon import INFO_DELAY, Balloon
from host.vsp.balloon.ledger import Ledger
from host.vsp.testing import Clock, Loopback
from protocol.errors import OperatorError, PeerError
from protocol.ids import PAGE_SIZE
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import dynmem
from protocol.wire.dynmem import (
    MAX_MESSAGE,
    PAGES_IN_2M,
    VERSIONS,
    BalloonRequest,
    BalloonResponse,
    Capabilities,
    DmCaps,
    DmType,
    PageRange,
    UnballoonRequest,
    VersionRequest,
)


class Guest:
    """hv_balloon."""

    def __init__(self, ram: GuestRam, device: Balloon) -> None:
        self.channel = Loopback(ram, range(1, 11), range(11, 21))
        self.channel.open(device)

    def say(self, type: DmType, body: bytes = b"") -> None:
        self.channel.send(PacketType.IN_BAND, dynmem.message(type, body))

    def hear(self) -> list[tuple[int, bytes]]:
        messages = [dynmem.parse(packet.payload) for packet in self.channel.receive()]
        return [(header.type, body) for header, body in messages]

    def give(self, *ranges: tuple[int, int], more: bool = False) -> None:
        self.say(DmType.BALLOON_RESPONSE, BalloonResponse(tuple(PageRange(*each) for each in ranges), more).encode())


def ready(ram: GuestRam, device: Balloon) -> Guest:
    guest = Guest(ram, device)
    guest.say(DmType.VERSION_REQUEST, VersionRequest(VERSIONS[0]).encode())
    guest.say(DmType.CAPABILITIES_REPORT, Capabilities(DmCaps.BALLOON).encode())
    guest.hear()
    assert device.ready
    return guest


def test_the_guest_hears_last_how_large_it_may_become(ram: GuestRam) -> None:
    clock = Clock()
    guest = ready(ram, Balloon(clock))
    clock.advance(INFO_DELAY)
    ((type, body),) = guest.hear()
    assert type == DmType.INFO_MESSAGE
    assert dynmem.MaxPageCount.decode(body) == dynmem.MaxPageCount(16, 0, 8, ram.pages)
    clock.advance(1000)
    assert guest.hear() == []


def test_an_old_host_says_no_until_it_hears_its_version(ram: GuestRam) -> None:
    guest = Guest(ram, Balloon(Clock(), newest=VERSIONS[-1]))
    for version in VERSIONS:
        guest.say(DmType.VERSION_REQUEST, VersionRequest(version).encode())
    answers = [dynmem.Accepted.decode(body).is_accepted for _, body in guest.hear()]
    assert answers == [0, 0, 1]


def test_a_guest_that_cannot_balloon_is_left_alone(ram: GuestRam) -> None:
    device = Balloon(Clock())
    guest = Guest(ram, device)
    guest.say(DmType.VERSION_REQUEST, VersionRequest(VERSIONS[0]).encode())
    guest.say(DmType.CAPABILITIES_REPORT, Capabilities(0).encode())
    assert dynmem.Accepted.decode(guest.hear()[1][1]).is_accepted == 0
    with pytest.raises(OperatorError, match="hv_balloon"):
        device.inflate(lambda pages: None, PAGES_IN_2M)


def test_an_answer_may_come_in_parts(ram: GuestRam) -> None:
    device = Balloon(Clock())
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    assert guest.hear() == [(DmType.BALLOON_REQUEST, BalloonRequest(PAGES_IN_2M).encode())]
    guest.give((20, 10), more=True)
    assert moved == []
    with pytest.raises(OperatorError, match="is moving"):
        device.deflate(moved.append, 1)
    guest.give((40, 5))
    assert moved == [15]
    assert device.counts()["ballooned_pages"] == 15


def test_what_comes_back_first_is_what_went_last_and_messages_fit_into_a_page(ram: GuestRam) -> None:
    device = Balloon(Clock())
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    guest.hear()
    guest.give(*((frame, 1) for frame in range(30, 250, 2)))
    device.deflate(moved.append, 3)
    ((_, body),) = guest.hear()
    back = UnballoonRequest.decode(body)
    assert back == UnballoonRequest((PageRange(248, 1), PageRange(246, 1), PageRange(244, 1)), False)
    guest.say(DmType.UNBALLOON_RESPONSE)
    assert moved == [110, 3]
    assert len(dynmem.message(DmType.UNBALLOON_REQUEST, body)) <= MAX_MESSAGE


def test_many_ranges_come_back_in_several_messages(ram: GuestRam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.vsp.balloon.balloon.MAX_RANGES", 4)
    device = Balloon(Clock())
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    guest.give(*((frame, 1) for frame in range(30, 50, 2)))
    guest.hear()
    device.deflate(moved.append, 1 << 30)
    requests = [UnballoonRequest.decode(body) for _, body in guest.hear()]
    assert [(len(request.ranges), request.more) for request in requests] == [(4, True), (4, True), (2, False)]
    guest.say(DmType.UNBALLOON_RESPONSE)
    assert moved == [10, 10]


def test_a_guest_gives_no_more_than_it_was_asked_for() -> None:
    clock, ram = Clock(), GuestRam.create(1024 * PAGE_SIZE, "test-balloon")
    device = Balloon(clock)
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    guest.give((100, 500), more=True)
    guest.give((700, 13))
    assert moved == [500]
    assert "513 pages from the guest, 512 were asked for" in str(clock.complaints[0])
    ram.close()


@pytest.mark.parametrize(
    "lie",
    [[(0, 1)], [(255, 2)], [(10, 0)], [(30, 4), (33, 1)], [(1 << 39, 1)], [(100, 1)]],
    ids=["frame 0", "beyond the end", "nothing", "twice", "far beyond", "given before"],
)
def test_pages_that_cannot_be_are_refused_and_the_transaction_ends(ram: GuestRam, lie: list[tuple[int, int]]) -> None:
    clock = Clock()
    device = Balloon(clock)
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    guest.give((100, 1))
    device.inflate(moved.append, PAGES_IN_2M)
    guest.give(*lie)
    assert moved == [1, 0]
    assert len(clock.complaints) == 1
    assert device.counts()["ballooned_pages"] == 1


def test_answers_to_nothing_and_messages_out_of_order_are_complained_about(ram: GuestRam) -> None:
    clock = Clock()
    device = Balloon(clock)
    guest = Guest(ram, device)
    for type in (DmType.STATUS_REPORT, DmType.CAPABILITIES_REPORT, DmType.BALLOON_RESPONSE, DmType.UNBALLOON_RESPONSE):
        guest.say(type, bytes(64))
    guest.channel.send(PacketType.IN_BAND, b"\5\0\xff\xff\0\0\0\0")
    guest.channel.send(PacketType.IN_BAND, b"")
    assert len(clock.complaints) == 6
    assert not device.ready


def test_ranges_that_are_counted_and_not_there_are_refused() -> None:
    with pytest.raises(PeerError, match="7 ranges"):
        BalloonResponse.decode(b"\0\0\0\0\x0e\0\0\0" + bytes(48))
    with pytest.raises(PeerError, match="7 ranges"):
        UnballoonRequest.decode(b"\0\0\0\0\7\0\0\0" + bytes(48))


def test_closing_ends_a_transaction_and_gives_everything_back(ram: GuestRam) -> None:
    device = Balloon(Clock())
    guest = ready(ram, device)
    moved: list[int | None] = []
    device.inflate(moved.append, PAGES_IN_2M)
    guest.give((20, 10))
    device.deflate(moved.append, 1)
    device.close(lambda: None)
    assert moved == [10, None]
    assert device.counts()["ballooned_pages"] == 0


@pytest.mark.parametrize("pages", [0, -512, 100])
def test_the_host_takes_memory_in_units_of_2_mib(ram: GuestRam, pages: int) -> None:
    device = Balloon(Clock())
    ready(ram, device)
    with pytest.raises(OperatorError, match="units of 512"):
        device.inflate(lambda moved: None, pages)


def test_pages_go_out_and_back_by_themselves_if_somebody_wants_it(ram: GuestRam) -> None:
    clock = Clock()
    device = Balloon(clock, every=5)
    guest = ready(ram, device)
    seen: list[int] = []
    for _ in range(10):
        clock.advance(2.5)
        for type, _ in guest.hear():
            seen.append(type)
            if type == DmType.BALLOON_REQUEST:
                guest.give((20, 10))
            elif type == DmType.UNBALLOON_REQUEST:
                guest.say(DmType.UNBALLOON_RESPONSE)
    moves = [type for type in seen if type != DmType.INFO_MESSAGE]
    assert moves == [DmType.BALLOON_REQUEST, DmType.UNBALLOON_REQUEST] * 2 + [DmType.BALLOON_REQUEST]


def test_a_ledger_splits_a_range_if_it_must() -> None:
    ledger = Ledger()
    ledger.add((PageRange(10, 100),), 200)
    assert ledger.take(30) == [PageRange(80, 30)]
    assert ledger.take(100) == [PageRange(10, 70)]
    assert (ledger.take(1), ledger.pages) == ([], 0)
