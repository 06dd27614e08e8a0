"""Packets in a ring: ``struct vmpacket_descriptor`` in front, header and payload, and a trailer behind.

    ========== ======================================================================================
    0   u16    type
    2   u16    offset8: where the payload starts, in units of 8 bytes from the start of the packet
    4   u16    len8: descriptor, header and padded payload in units of 8 bytes, *without* the trailer
    6   u16    flags: bit 0 asks for a completion
    8   u64    transaction id
    16         header of the type, then the payload, padded with zeros to a multiple of 8
    len8 * 8   trailer: u32 zero, u32 write_index at which this packet starts
    ========== ======================================================================================

The ring knows the length of a payload only as a multiple of 8; exact lengths are the payload's own business.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache, partial
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from protocol.errors import OperatorError
from protocol.ring.memory import GRANULE, RingCorrupt

COMPLETION_REQUESTED: Final = 1
"""``VMBUS_DATA_PACKET_FLAG_COMPLETION_REQUESTED``. OpenVMM refuses any other flag, and so does this reader."""


class PacketType(IntEnum):
    """The four types in use; OpenVMM accepts no other. 7 goes from host to guest only, 9 from guest to host only."""

    IN_BAND = 6
    TRANSFER_PAGES = 7
    GPA_DIRECT = 9
    COMPLETION = 0xB


PACKET_TYPES: Final = frozenset(map(int, PacketType))


class Packet(NamedTuple):
    """A packet as it came out of a ring. ``payload`` includes the padding."""

    type: int
    flags: int
    transaction_id: int
    header: bytes
    payload: bytes | memoryview


DESCRIPTOR: Final = Struct("<HHHHQ")
DESCRIPTOR_WORDS: Final = Struct("<QQ")
TRAILER: Final = Struct("<4xI")
MIN_PACKET: Final = DESCRIPTOR.size + TRAILER.size
MAX_LEN8: Final = 0xFFFF

Plan: TypeAlias = "tuple[Callable[..., None], int, int]"
"""How to write a body of one length: (pack, bytes that it takes in the ring, len8)."""

PLANS: Final[dict[int, Plan]] = {}
"""A Struct for each length of header + payload that was ever written: one C call writes the whole packet.

Bounded, because longer bodies than LARGE are copied by slices, which is faster for them.
"""
LARGE: Final = 16384


def ring_bytes(body: int) -> int:
    """What a packet with ``body`` bytes of header and payload takes in the ring, descriptor and trailer included."""
    return -body % GRANULE + body + MIN_PACKET


def plan(body: int) -> Plan:
    """Find out how to write ``body`` bytes of header and payload. OperatorError if no packet can hold them."""
    padded = -body % GRANULE + body
    len8 = (DESCRIPTOR.size + padded) // 8
    if len8 > MAX_LEN8:
        raise OperatorError(f"a ring packet cannot hold {body} bytes: split them, or send a GPA direct packet")
    if body > LARGE:
        return partial(_pack_large, padded), ring_bytes(body), len8
    PLANS[body] = Struct(f"<HHHHQ{padded}s4xI").pack_into, ring_bytes(body), len8
    return PLANS[body]


def _pack_large(
    padded: int,
    data: memoryview,
    at: int,
    type: int,
    offset8: int,
    len8: int,
    flags: int,
    transaction_id: int,
    body: bytes,
    start: int,
) -> None:
    DESCRIPTOR.pack_into(data, at, type, offset8, len8, flags, transaction_id)
    at += DESCRIPTOR.size
    data[at : at + len(body)] = body
    data[at + len(body) : at + padded] = bytes(padded - len(body))
    TRAILER.pack_into(data, at + padded, start)


@lru_cache(maxsize=1024)
def judge(word: int) -> tuple[int, int, int, int]:
    """Read the first 8 bytes of a descriptor: (type, flags, bytes up to the payload, bytes up to the trailer).

    RingCorrupt names the field that no correct peer writes.
    """
    type, offset8, len8, flags = word & 0xFFFF, word >> 16 & 0xFFFF, word >> 32 & 0xFFFF, word >> 48
    if type not in PACKET_TYPES:
        raise RingCorrupt("packet type", type, "6, 7, 9 or 11")
    if flags & ~COMPLETION_REQUESTED:
        raise RingCorrupt("packet flags", flags, "0 or 1")
    if offset8 < DESCRIPTOR.size // GRANULE:
        raise RingCorrupt("packet offset8", offset8, "at least 2, behind the descriptor")
    if offset8 > len8:
        raise RingCorrupt("packet offset8", offset8, f"at most len8, {len8}")
    return type, flags, offset8 * GRANULE, len8 * GRANULE
