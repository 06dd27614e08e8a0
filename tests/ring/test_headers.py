"""The headers of the two packet types that point elsewhere: at the guest's memory, and into a shared buffer."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import PeerError
from protocol.ids import Pfn
from protocol.ring import gpa_direct, transfer_pages
from protocol.ring.gpa_direct import BadGpaDirect
from protocol.ring.transfer_pages import BadTransferPages, TransferPages, TransferRange
from protocol.wire.gpadl import GpaRange, pages_of

U32 = st.integers(0, 0xFFFF_FFFF)
PFN = st.integers(0, 2**64 - 1).map(Pfn)


@st.composite
def gpa_ranges(draw: st.DrawFn) -> GpaRange:
    offset, count = draw(st.integers(0, 4095)), draw(st.integers(1, 40000))
    pages = pages_of(count, offset)
    return GpaRange(count, offset, tuple(draw(st.lists(PFN, min_size=pages, max_size=pages))))


@given(st.lists(gpa_ranges(), min_size=1, max_size=5))
def test_what_is_encoded_is_parsed(ranges: list[GpaRange]) -> None:
    header = gpa_direct.encode(ranges)
    assert len(header) % 8 == 0
    assert gpa_direct.parse(header) == tuple(ranges)


@given(st.binary(max_size=80))
def test_any_bytes_are_ranges_or_a_peer_error(header: bytes) -> None:
    for parse in (gpa_direct.parse, transfer_pages.parse):
        try:
            parse(header)
        except PeerError as error:
            assert str(error)


def test_one_page_to_a_range_and_many_pages_to_a_range_are_laid_out_as_linux_does() -> None:
    assert gpa_direct.encode([GpaRange(100, 4000, (Pfn(7), Pfn(9)))]) == struct.pack("<IIIIQQ", 0, 1, 100, 4000, 7, 9)
    two = [GpaRange(96, 4000, (Pfn(7),)), GpaRange(4, 0, (Pfn(9),))]
    assert gpa_direct.encode(two) == struct.pack("<IIIIQIIQ", 0, 2, 96, 4000, 7, 4, 0, 9)


def test_the_reserved_word_may_hold_anything() -> None:
    header = struct.pack("<IIIIQ", 0xDEADBEEF, 1, 8, 0, 3)
    assert gpa_direct.parse(header) == (GpaRange(8, 0, (Pfn(3),)),)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "no range count"),
        (struct.pack("<II", 0, 0), "no range"),
        (struct.pack("<II", 0, 1), "ends before range 0 of 1"),
        (struct.pack("<IIIIQ", 0, 2, 8, 0, 3), "ends before range 1 of 2"),
        (struct.pack("<IIIIQ", 0, 1, 0, 0, 3), "0 bytes from offset 0"),
        (struct.pack("<IIIIQ", 0, 1, 8, 4096, 3), "8 bytes from offset 4096"),
        (struct.pack("<IIIIQ", 0, 1, 100, 4000, 3), "needs 2 pages, 1 are listed"),
        (struct.pack("<IIIIQ", 0, 1, 0xFFFF_FFFF, 4095, 3), "needs 1048577 pages"),
        (struct.pack("<IIIIQ", 0, 0xFFFF_FFFF, 8, 0, 3), "ends before range 1 of 4294967295"),
    ],
)
def test_ranges_that_make_no_sense_are_named(header: bytes, why: str) -> None:
    with pytest.raises(BadGpaDirect, match=why):
        gpa_direct.parse(header)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.lists(st.builds(TransferRange, U32, U32), max_size=5))
def test_transfer_pages_survive_the_way(set_id: int, owns: int, ranges: list[TransferRange]) -> None:
    header = transfer_pages.encode(set_id, ranges, owns)
    assert len(header) % 8 == 0
    assert transfer_pages.parse(header) == TransferPages(set_id, owns, tuple(ranges))


def test_transfer_pages_are_laid_out_as_netvsc_reads_them() -> None:
    header = transfer_pages.encode(0xCAFE, [TransferRange(1514, 4096)])
    assert header == struct.pack("<HBBIII", 0xCAFE, 0, 0, 1, 1514, 4096)


@pytest.mark.parametrize("header", [b"", bytes(7), struct.pack("<HBBI", 1, 0, 0, 1), bytes(4) + b"\xff" * 12])
def test_a_transfer_page_header_that_is_too_short_is_named(header: bytes) -> None:
    with pytest.raises(BadTransferPages):
        transfer_pages.parse(header)
