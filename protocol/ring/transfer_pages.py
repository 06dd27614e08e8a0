"""The header of a transfer page packet (type 7): parts of a buffer that both sides have known since set-up.

    ``struct vmtransfer_page_packet_header`` after the descriptor: u16 page set id, u8 sender owns the set, u8 reserved,
    u32 number of ranges, then for each range { u32 byte_count, u32 byte_offset into the set }.

Only netvsc's receive path uses it, from host to guest; the host asks for a completion of each.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from protocol.errors import PeerError

_HEAD: Final = Struct("<HBxI")
_RANGE: Final = Struct("<II")


class BadTransferPages(PeerError):
    """The header is shorter than its own range count says."""


class TransferRange(NamedTuple):
    """Bytes of the page set, counted from its start."""

    byte_count: int
    byte_offset: int


class TransferPages(NamedTuple):
    """``set_id`` is the buffer's name: netvsc's receive buffer is 0xCAFE (``NETVSC_RECEIVE_BUFFER_ID``)."""

    set_id: int
    sender_owns_set: int
    ranges: tuple[TransferRange, ...]


def encode(set_id: int, ranges: Sequence[TransferRange], sender_owns_set: int = 0) -> bytes:
    """The header for ``ranges``, a multiple of 8 bytes."""
    return _HEAD.pack(set_id, sender_owns_set, len(ranges)) + b"".join(_RANGE.pack(*range) for range in ranges)


def parse(header: bytes) -> TransferPages:
    """The header's fields; whether the ranges lie inside the set is for the driver to judge. BadTransferPages."""
    if len(header) < _HEAD.size:
        raise BadTransferPages(f"transfer page header of {len(header)} bytes is cut short")
    set_id, sender_owns_set, count = _HEAD.unpack_from(header)
    end = _HEAD.size + count * _RANGE.size
    if len(header) < end:
        raise BadTransferPages(f"transfer page header of {len(header)} bytes cannot hold {count} ranges")
    ranges = tuple(TransferRange(*fields) for fields in _RANGE.iter_unpack(header[_HEAD.size : end]))
    return TransferPages(set_id, sender_owns_set, ranges)
