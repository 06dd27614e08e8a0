"""Dynamic memory: the host takes pages from the guest and gives them back (drivers/hv/hv_balloon.c).

Every message begins with a header that knows the size of the whole; the structures here begin behind it. Left out: hot
add, of which Linux is told by a message type that this host never sends.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import NamedTuple

from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE
from protocol.wire.fields import Field, bit0, u16, u32, u64
from protocol.wire.layout import Layout, Readable, Structure, structure

VERSIONS = (0x2_0000, 0x1_0000, 0x3)
"""``DYNMEM_PROTOCOL_VERSION_WIN10``, ``_WIN8``, ``_WIN7``: the order in which Linux tries them."""
MAX_MESSAGE = PAGE_SIZE
"""Linux reads and writes messages in one page."""
PAGES_IN_2M = 512
"""The host balloons in units of 2 MiB."""


class DmType(IntEnum):
    """``enum dm_message_type``."""

    VERSION_REQUEST = 1
    VERSION_RESPONSE = 2
    CAPABILITIES_REPORT = 3
    CAPABILITIES_RESPONSE = 4
    STATUS_REPORT = 5
    BALLOON_REQUEST = 6
    BALLOON_RESPONSE = 7
    UNBALLOON_REQUEST = 8
    UNBALLOON_RESPONSE = 9
    MEM_HOT_ADD_REQUEST = 10
    MEM_HOT_ADD_RESPONSE = 11
    INFO_MESSAGE = 12


class DmCaps(IntFlag):
    """``union dm_caps``; bits 2 to 5 are the alignment of hot add, as a power of two of MiB."""

    BALLOON = 1
    HOT_ADD = 2


@structure()
class DmHeader(Structure):
    """``dm_header``. ``size`` includes it."""

    type: int = u16(0)
    size: int = u16(2)
    transaction: int = u32(4, default=0)


def message(type: DmType, body: bytes = b"", transaction: int = 0) -> bytes:
    """A ring payload."""
    return DmHeader(type, DmHeader.layout.size + len(body), transaction).encode() + body


def parse(payload: Readable) -> tuple[DmHeader, bytes]:
    """Header and body, without the ring's padding. Raises PeerError if the message is not all there."""
    header = DmHeader.decode(payload)
    if not DmHeader.layout.size <= header.size <= len(payload):
        raise PeerError(f"dm_header.size: {header.size} announced, {len(payload)} there")
    return header, bytes(payload[DmHeader.layout.size : header.size])


@structure()
class VersionRequest(Structure):
    """``dm_version_request``."""

    version: int = u32(0)
    is_last_attempt: int = bit0(4, "I", default=0)


@structure()
class Accepted(Structure):
    """``dm_version_response`` and ``dm_capabilities_resp_msg``."""

    is_accepted: int = bit0(0, "Q")


@structure()
class Capabilities(Structure):
    """``dm_capabilities``."""

    caps: int = u64(0)
    min_page_count: int = u64(8, default=0)
    max_page_number: int = u64(16, default=2**64 - 1)


@structure()
class Status(Structure):
    """``dm_status``, in pages. The host's idea of pressure is ``committed``, to which Linux adds what is ballooned."""

    available: int = u64(0)
    committed: int = u64(8)
    page_file_size: int = u64(16, default=0)
    zero_free: int = u64(24, default=0)
    page_file_writes: int = u32(32, default=0)
    io_diff: int = u32(36, default=0)


@structure(size=8)
class BalloonRequest(Structure):
    """``dm_balloon``."""

    pages: int = u32(0)


class PageRange(NamedTuple):
    """``dm_mem_page_range``: 40 bits of frame number, 24 bits of pages."""

    first: int
    pages: int


_FRAME_BITS = 40
_RANGES_AT = 8
COUNTS = Layout("dm_ranges", {"first": Field(0, "I"), "second": Field(4, "I")})
MAX_RANGES = (MAX_MESSAGE - DmHeader.layout.size - _RANGES_AT) // 8


def _pack(ranges: Sequence[PageRange]) -> bytes:
    return struct.pack(f"<{len(ranges)}Q", *(first | pages << _FRAME_BITS for first, pages in ranges))


def _unpack(name: str, body: bytes, count: int) -> tuple[PageRange, ...]:
    if count > (len(body) - _RANGES_AT) // 8:
        raise PeerError(f"{name}: {count} ranges in {len(body)} bytes")
    words = struct.unpack_from(f"<{count}Q", body, _RANGES_AT)
    return tuple(PageRange(word & (1 << _FRAME_BITS) - 1, word >> _FRAME_BITS) for word in words)


class BalloonResponse(NamedTuple):
    """``dm_balloon_response``: pages that the guest has given away. ``more``: another one follows."""

    ranges: tuple[PageRange, ...]
    more: bool

    def encode(self) -> bytes:
        """The flag is bit 0 of the second word, above it the count."""
        return COUNTS.pack(0, len(self.ranges) << 1 | self.more) + _pack(self.ranges)

    @classmethod
    def decode(cls, body: bytes) -> "BalloonResponse":
        """Raises PeerError."""
        _, word = COUNTS.unpack(body)
        return cls(_unpack("dm_balloon_response", body, word >> 1), bool(word & 1))


class UnballoonRequest(NamedTuple):
    """``dm_unballoon_request``: pages that the guest gets back. ``more``: another one follows, and no answer yet."""

    ranges: tuple[PageRange, ...]
    more: bool

    def encode(self) -> bytes:
        """The flag is bit 0 of the first word, the count the second."""
        return COUNTS.pack(self.more, len(self.ranges)) + _pack(self.ranges)

    @classmethod
    def decode(cls, body: bytes) -> "UnballoonRequest":
        """Raises PeerError."""
        flags, count = COUNTS.unpack(body)
        return cls(_unpack("dm_unballoon_request", body, count), bool(flags & 1))


INFO_TYPE_MAX_PAGE_CNT = 0


@structure()
class MaxPageCount(Structure):
    """``dm_info_msg`` with its ``dm_info_header``: how large the guest may become at most, in pages."""

    info_size: int = u32(4)
    info_type: int = u32(8)
    data_size: int = u32(12)
    pages: int = u64(16)

    @classmethod
    def of(cls, pages: int) -> "MaxPageCount":
        return cls(16, INFO_TYPE_MAX_PAGE_CNT, 8, pages)
