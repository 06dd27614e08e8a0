"""GPADLs survive being cut into messages; range buffers that make no sense are refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import GpadlId, Pfn, Relid
from protocol.wire.gpadl import Assembler, BadGpadl, GpaRange, pages_of, split
from protocol.wire.messages import DoesNotFit, GpadlBody, GpadlHeader, decode, encode
from protocol.wire.versions import Dialect, Version

DIALECT = Dialect(Version.V5_3)
RELID, GPADL = Relid(5), GpadlId(0xE1E10)
PFNS = st.integers(0, 2**52 - 1).map(Pfn)


@st.composite
def gpa_ranges(draw: st.DrawFn) -> GpaRange:
    byte_offset = draw(st.integers(0, 4095))
    byte_count = draw(st.integers(1, 100 * 4096))
    pages = pages_of(byte_count, byte_offset)
    return GpaRange(byte_count, byte_offset, tuple(draw(st.lists(PFNS, min_size=pages, max_size=pages))))


def pages(count: int) -> GpaRange:
    return GpaRange.whole_pages([Pfn(1000 + n) for n in range(count)])


def over_the_wire(message: GpadlHeader | GpadlBody, fill: bytes = b"") -> GpadlHeader | GpadlBody:
    data = encode(message, DIALECT)
    assert len(data) <= 240
    heard = decode(data + fill[len(data) :], DIALECT)
    assert isinstance(heard, GpadlHeader | GpadlBody)
    return heard


def assembled(posted: list[GpadlHeader | GpadlBody], fill: bytes = b"") -> tuple[GpaRange, ...]:
    header = over_the_wire(posted[0], fill if len(posted) == 1 else b"")
    assert isinstance(header, GpadlHeader)
    assembler = Assembler(header)
    for body in posted[1:]:
        assert not assembler.complete
        heard = over_the_wire(body, fill if body is posted[-1] else b"")
        assert isinstance(heard, GpadlBody)
        assembler.add(heard)
    assert assembler.complete
    return assembler.ranges()


@given(st.lists(gpa_ranges(), min_size=1, max_size=8))
def test_ranges_arrive_as_they_were_lent(ranges: list[GpaRange]) -> None:
    assert assembled(split(RELID, GPADL, ranges)) == tuple(ranges)


@given(st.lists(gpa_ranges(), min_size=1, max_size=3), st.integers(0, 255))
def test_a_last_message_filled_up_to_240_bytes_changes_nothing(ranges: list[GpaRange], filling: int) -> None:
    assert assembled(split(RELID, GPADL, ranges), bytes([filling]) * 240) == tuple(ranges)


@pytest.mark.parametrize(("count", "messages"), [(1, 1), (26, 1), (27, 2), (54, 2), (55, 3), (500, 18), (8190, 293)])
def test_as_many_messages_as_linux_posts(count: int, messages: int) -> None:
    posted = split(RELID, GPADL, [pages(count)])
    assert len(posted) == messages
    assert assembled(posted) == (pages(count),)


def test_8190_pages_are_the_most_that_one_range_can_have() -> None:
    with pytest.raises(DoesNotFit, match="at most 65528"):
        split(RELID, GPADL, [pages(8191)])
    with pytest.raises(DoesNotFit, match="at most 65528"):
        split(RELID, GPADL, [pages(4095), pages(4095)])


def test_a_range_whose_pages_do_not_match_its_bytes_cannot_be_lent() -> None:
    with pytest.raises(DoesNotFit, match="4097 bytes from 0 are not 1 pages"):
        split(RELID, GPADL, [GpaRange(4097, 0, (Pfn(1),))])


def test_the_byte_offset_counts_into_the_number_of_pages() -> None:
    assert [pages_of(4096, 0), pages_of(4096, 1), pages_of(1, 4095), pages_of(2, 4095)] == [1, 2, 1, 2]


def header(words: tuple[int, ...], range_buflen: int | None = None, range_count: int = 1) -> GpadlHeader:
    return GpadlHeader(RELID, GPADL, len(words) * 8 if range_buflen is None else range_buflen, range_count, words)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (header((0, 1)), "0 bytes from 0"),
        (header((4096 | 0x1000 << 32, 1, 2)), "from 4096"),
        (header((8192, 1)), "1 page numbers left"),
        (header((0xFFFF_FFFF | 0xFFF << 32, 1)), "4294967295 bytes"),
        (header((4096, 1), range_count=2), "range 1 of 2 is missing"),
        (header(()), "range 0 of 1 is missing"),
    ],
)
def test_ranges_that_describe_no_memory_are_refused(bad: GpadlHeader, why: str) -> None:
    with pytest.raises(BadGpadl, match=why):
        Assembler(bad).ranges()


def test_a_length_that_is_not_whole_words_is_refused_at_once() -> None:
    with pytest.raises(BadGpadl, match="range_buflen 20"):
        Assembler(header((4096, 1), range_buflen=20))


def test_words_behind_the_last_range_are_allowed() -> None:
    assert Assembler(header((4096, 7, 99, 99))).ranges() == (GpaRange(4096, 0, (Pfn(7),)),)


def test_a_body_too_many_or_of_another_gpadl_is_refused() -> None:
    complete = Assembler(header((4096, 7)))
    with pytest.raises(BadGpadl, match="no body"):
        complete.add(GpadlBody(0, GPADL, (1,)))
    waiting = Assembler(header((8192, 7), range_buflen=24))
    with pytest.raises(BadGpadl, match="no body of 0x1 is expected"):
        waiting.add(GpadlBody(0, GpadlId(1), (1,)))
    with pytest.raises(BadGpadl, match="2 of 3 words"):
        waiting.ranges()
    assert waiting.add(GpadlBody(0, GPADL, (8,)))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=27), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_any_header_is_a_gpadl_or_a_peer_error(words: list[int], range_buflen: int, range_count: int) -> None:
    with suppress(BadGpadl):
        Assembler(header(tuple(words), range_buflen, range_count)).ranges()
