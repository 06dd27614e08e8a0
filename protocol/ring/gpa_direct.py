"""The header of a GPA direct packet (type 9): the guest's memory that the host is to read or write.

    ``struct vmdata_gpa_direct`` after the descriptor: u32 reserved, u32 number of ranges, then for each range
    { u32 byte_count, u32 byte_offset, one u64 page frame number for each page touched }.

Linux writes it in two ways that differ only in how ranges are cut: ``vmbus_sendpacket_pagebuffer`` one page to a range
(netvsc), ``vmbus_sendpacket_mpb_desc`` one range of many pages (storvsc).
"""

from collections.abc import Sequence
from struct import Struct, pack, unpack_from
from typing import Final

from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Pfn
from protocol.wire.gpadl import GpaRange, pages_of

_COUNT: Final = Struct("<4xI")  # the guest may leave anything in the reserved word
_RANGE: Final = Struct("<II")


class BadGpaDirect(PeerError):
    """The guest described memory in a way that makes no sense."""


def encode(ranges: Sequence[GpaRange]) -> bytes:
    """The header for ``ranges``, a multiple of 8 bytes."""
    parts = [_COUNT.pack(len(ranges))]
    for range in ranges:
        parts.append(_RANGE.pack(range.byte_count, range.byte_offset))
        parts.append(pack(f"<{len(range.pfns)}Q", *range.pfns))
    return b"".join(parts)


def parse(header: bytes) -> tuple[GpaRange, ...]:
    """The ranges of a header, at least one and none of them empty (OpenVMM refuses both too). BadGpaDirect.

    Page frame numbers are not judged here: what is a page is for ``Ram`` to say. Spare bytes at the end are ignored.
    """
    if len(header) < _COUNT.size:
        raise BadGpaDirect(f"GPA direct header of {len(header)} bytes has no range count")
    (count,) = _COUNT.unpack_from(header)
    if not count:
        raise BadGpaDirect("GPA direct packet with no range")
    ranges: list[GpaRange] = []
    at = _COUNT.size
    while len(ranges) < count:
        if len(header) - at < _RANGE.size:
            raise BadGpaDirect(f"GPA direct header ends before range {len(ranges)} of {count}")
        byte_count, byte_offset = _RANGE.unpack_from(header, at)
        at += _RANGE.size
        if not byte_count or byte_offset >= PAGE_SIZE:
            raise BadGpaDirect(f"GPA direct range {len(ranges)}: {byte_count} bytes from offset {byte_offset}")
        pages = pages_of(byte_count, byte_offset)
        if len(header) - at < 8 * pages:
            raise BadGpaDirect(
                f"GPA direct range {len(ranges)} needs {pages} pages, {(len(header) - at) // 8} are listed"
            )
        pfns = tuple(Pfn(pfn) for pfn in unpack_from(f"<{pages}Q", header, at))
        ranges.append(GpaRange(byte_count, byte_offset, pfns))
        at += 8 * pages
    return tuple(ranges)
