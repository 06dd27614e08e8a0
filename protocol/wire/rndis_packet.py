"""RNDIS data messages: one Ethernet frame, and what is said about it on the side (per-packet information).

    message = header | fixed part to byte 44 | per-packet information | frame

A record of per-packet information is {u32 size, u32 type, u32 offset of the value in the record, value}; bit 31 of the
type says that it is internal to the virtual switch (``struct rndis_packet``, ``struct rndis_per_packet_info``).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Final, Self

from protocol.wire.fields import u32
from protocol.wire.layout import Readable, structure
from protocol.wire.rndis import HEADER_SIZE, BadRndis, RndisMessage, RndisType, part

RECORD_HEADER: Final = 12
INTERNAL: Final = 1 << 31

_DATA = struct.Struct("<4I12x2I8x")
"""Header and fixed part at once: type, length, data offset and length, information offset and length."""
_RECORD = struct.Struct("<III")
_U32 = struct.Struct("<I")


class PacketInfo(IntEnum):
    """Types of per-packet information (``enum ndis_per_pkt_info_type``), and the internal ones with bit 31."""

    CHECKSUM = 0
    LARGE_SEND = 2
    VLAN = 6
    HASH_VALUE = 8
    PACKET_ID = INTERNAL | 1


class TransmitChecksum(IntFlag):
    """Which checksums the host shall compute; bits 16 to 25 are the offset of the TCP or UDP header in the frame."""

    IPV4 = 1 << 0
    IPV6 = 1 << 1
    TCP = 1 << 2
    UDP = 1 << 3
    IP_HEADER = 1 << 4


TCP_HEADER_OFFSET_SHIFT: Final = 16


class ReceiveChecksum(IntFlag):
    """What the host says of the checksums in a frame. No record: nothing, and the guest verifies them itself."""

    TCP_FAILED = 1 << 0
    UDP_FAILED = 1 << 1
    IP_FAILED = 1 << 2
    TCP_SUCCEEDED = 1 << 3
    UDP_SUCCEEDED = 1 << 4
    IP_SUCCEEDED = 1 << 5
    LOOPBACK = 1 << 6
    TCP_VALUE_INVALID = 1 << 7
    IP_VALUE_INVALID = 1 << 8


@dataclass(frozen=True, slots=True)
class LargeSend:
    """Large send offload, version 2 (``ndis_tcp_lso_info.lso_v2_transmit``): the host cuts the segment up."""

    mss: int
    tcp_header_offset: int
    ipv6: bool = False

    def encode(self) -> bytes:
        return _U32.pack(self.mss | self.tcp_header_offset << 20 | 1 << 30 | self.ipv6 << 31)

    @classmethod
    def decode(cls, value: Readable) -> Self:
        (word,) = _U32.unpack_from(value)
        return cls(word & 0xFFFFF, word >> 20 & 0x3FF, bool(word >> 31))


@dataclass(frozen=True, slots=True)
class Vlan:
    """An 802.1Q tag that is not in the frame (``ndis_pkt_8021q_info``)."""

    id: int
    priority: int = 0
    cfi: int = 0

    def encode(self) -> bytes:
        return _U32.pack(self.priority | self.cfi << 3 | self.id << 4)

    @classmethod
    def decode(cls, value: Readable) -> Self:
        (word,) = _U32.unpack_from(value)
        return cls(word >> 4 & 0xFFF, word & 7, word >> 3 & 1)


@structure(start=HEADER_SIZE)
class DataPacket(RndisMessage):
    """The fixed part. Offsets count from byte 8."""

    type: ClassVar = RndisType.PACKET
    data_offset: int = u32(8)
    data_length: int = u32(12)
    oob_offset: int = u32(16, default=0)
    oob_length: int = u32(20, default=0)
    oob_elements: int = u32(24, default=0)
    info_offset: int = u32(28, default=0)
    info_length: int = u32(32, default=0)
    vc_handle: int = u32(36, default=0)
    reserved: int = u32(40, default=0)


PACKET_HEADER: Final = DataPacket.layout.size
"""44: where per-packet information begins, or the frame if there is none."""

Information = Mapping[int, bytes]
"""Type (``PacketInfo``) to value, a multiple of 4 bytes."""


def packet_header(frame_length: int, information: Information = {}) -> bytes:  # noqa: B006 - never written to
    """What stands before a frame of ``frame_length`` bytes."""
    records = b"".join(
        _RECORD.pack(RECORD_HEADER + len(value), kind, RECORD_HEADER) + value for kind, value in information.items()
    )
    at, size = PACKET_HEADER - HEADER_SIZE, len(records)
    length = PACKET_HEADER + size + frame_length
    return _DATA.pack(RndisType.PACKET, length, at + size, frame_length, at if size else 0, size) + records


def decode_packet(message: Readable) -> tuple[memoryview, dict[int, bytes]]:
    """The frame and its information. Raises ShortMessage, BadRndis.

    ``message`` is one message, from ``split``. Padding behind the frame belongs to it, as netvsc counts it.
    """
    fixed = DataPacket.decode(message)
    frame = part(message, fixed.data_offset, fixed.data_length, "frame")
    records = part(message, fixed.info_offset, fixed.info_length, "per-packet information")
    information: dict[int, bytes] = {}
    while records:
        if len(records) < RECORD_HEADER:
            raise BadRndis(f"per-packet information cut at {len(records)} bytes")
        size, kind, offset = _RECORD.unpack_from(records)
        if not RECORD_HEADER <= offset <= size <= len(records):
            raise BadRndis(f"per-packet information {kind:#x}: {size} bytes of {len(records)}, value at {offset}")
        information[kind] = bytes(records[offset:size])
        records = records[size:]
    return frame, information
