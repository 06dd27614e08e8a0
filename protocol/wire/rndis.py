"""RNDIS control messages, as netvsc speaks them inside NVSP (rndis.h and hyperv_net.h of Linux, MS-RNDIS).

A message is u32 type, u32 length of the whole, and a body. Offsets inside a body count from the body, that is from byte
8 of the message. The guest's requests are answered by a message of type ``request | COMPLETION`` with the same request
id. Packets are in rndis_packet.py, what OIDs carry in ndis.py.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from enum import IntEnum
from typing import ClassVar, Final, Self

from protocol.errors import PeerError
from protocol.wire.fields import u32
from protocol.wire.layout import Readable, Structure, structure

HEADER_SIZE: Final = 8
MAJOR_VERSION: Final = 1
MINOR_VERSION: Final = 0
CONNECTIONLESS: Final = 1
"""``RNDIS_DF_CONNECTIONLESS``."""
MEDIUM_802_3: Final = 0
COMPLETION: Final = 0x8000_0000

_HEADER = struct.Struct("<II")


class RndisType(IntEnum):
    """``RNDIS_MSG_*``."""

    PACKET = 1
    INITIALIZE = 2
    HALT = 3
    QUERY = 4
    SET = 5
    RESET = 6
    INDICATE_STATUS = 7
    KEEPALIVE = 8
    INITIALIZE_COMPLETE = INITIALIZE | COMPLETION
    QUERY_COMPLETE = QUERY | COMPLETION
    SET_COMPLETE = SET | COMPLETION
    RESET_COMPLETE = RESET | COMPLETION
    KEEPALIVE_COMPLETE = KEEPALIVE | COMPLETION


class RndisStatus(IntEnum):
    """``RNDIS_STATUS_*``: of completions, and what INDICATE_STATUS indicates."""

    SUCCESS = 0
    MEDIA_CONNECT = 0x4001000B
    MEDIA_DISCONNECT = 0x4001000C
    LINK_SPEED_CHANGE = 0x40010013
    NETWORK_CHANGE = 0x40010018
    FAILURE = 0xC0000001
    NOT_SUPPORTED = 0xC00000BB
    INVALID_DATA = 0xC0010015


class BadRndis(PeerError):
    """Lengths or offsets of a message that lead outside of it, or another type than the one that must stand here."""


def split(data: Readable) -> Iterator[tuple[int, memoryview]]:
    """The (type, bytes) of messages that lie back to back, as netvsc batches them in a send section.

    Raises BadRndis at the first that is cut; those before it have been handed out.
    """
    view = memoryview(data)
    while view:
        if len(view) < HEADER_SIZE:
            raise BadRndis(f"RNDIS header cut at {len(view)} bytes")
        kind, length = _HEADER.unpack_from(view)
        if not HEADER_SIZE <= length <= len(view):
            raise BadRndis(f"RNDIS message {kind:#x} of {length} bytes in {len(view)}")
        yield kind, view[:length]
        view = view[length:]


def part(message: Readable, offset: int, length: int, what: str) -> memoryview:
    """``length`` bytes at ``offset`` of the body. Raises BadRndis."""
    body = memoryview(message)[HEADER_SIZE:]
    if offset > len(body) or length > len(body) - offset:
        raise BadRndis(f"RNDIS {what}: {length} bytes at {offset} of {len(body)}")
    return body[offset : offset + length]


class RndisMessage(Structure):
    """Base of the control messages."""

    __slots__ = ()
    type: ClassVar[RndisType]

    def encode(self) -> bytes:
        return _HEADER.pack(self.type, self.layout.size) + self.layout.pack(*self.layout.values_of(self))

    @classmethod
    def decode(cls, data: Readable, at: int = 0) -> Self:
        """Raises ShortMessage, BadRndis."""
        made = cls(*cls.layout.unpack(data, at))
        if (kind := _HEADER.unpack_from(data, at)[0]) != cls.type:
            raise BadRndis(f"RNDIS message {kind:#x} where {cls.type.name} was expected")
        return made


class Informed(RndisMessage):
    """A message with an information buffer behind its fixed part; ``length`` and ``offset`` say where."""

    __slots__ = ()
    length: int
    offset: int

    def with_information(self, information: bytes) -> bytes:
        """The message encoded with ``information`` right behind it."""
        size = self.layout.size
        # mypy does not see the dataclass that ``structure`` makes of each subclass
        made = replace(self, length=len(information), offset=size - HEADER_SIZE)  # type: ignore[type-var]
        fixed = self.layout.pack(*self.layout.values_of(made))
        return _HEADER.pack(self.type, size + len(information)) + fixed + information

    def information(self, message: Readable) -> memoryview:
        """The information buffer in the bytes of this message. Raises BadRndis."""
        return part(message, self.offset, self.length, self.type.name)


@structure(start=HEADER_SIZE)
class Initialize(RndisMessage):
    """Guest, first."""

    type: ClassVar = RndisType.INITIALIZE
    request_id: int = u32(8)
    major: int = u32(12, default=MAJOR_VERSION)
    minor: int = u32(16, default=MINOR_VERSION)
    max_transfer: int = u32(20, default=0x4000)


@structure(start=HEADER_SIZE)
class InitializeComplete(RndisMessage):
    """``max_packets`` in one NVSP packet, each aligned to ``1 << alignment`` bytes: how the guest batches sends."""

    type: ClassVar = RndisType.INITIALIZE_COMPLETE
    request_id: int = u32(8)
    status: int = u32(12, default=RndisStatus.SUCCESS)
    major: int = u32(16, default=MAJOR_VERSION)
    minor: int = u32(20, default=MINOR_VERSION)
    device_flags: int = u32(24, default=CONNECTIONLESS)
    medium: int = u32(28, default=MEDIUM_802_3)
    max_packets: int = u32(32, default=8)
    max_transfer: int = u32(36, default=0xEFFF_FFFF)
    alignment: int = u32(40, default=3)
    address_family_offset: int = u32(44, default=0)
    address_family_size: int = u32(48, default=0)


@structure(start=HEADER_SIZE)
class Halt(RndisMessage):
    """Guest, unanswered: the end of the conversation."""

    type: ClassVar = RndisType.HALT
    request_id: int = u32(8)


@structure(start=HEADER_SIZE)
class Query(Informed):
    """Guest: what is the value of ``oid``? Some questions bring an information buffer."""

    type: ClassVar = RndisType.QUERY
    request_id: int = u32(8)
    oid: int = u32(12)
    length: int = u32(16, default=0)
    offset: int = u32(20, default=20)
    vc_handle: int = u32(24, default=0)


@structure(start=HEADER_SIZE)
class QueryComplete(Informed):
    """The value, or a status and nothing. Linux does not look at the status: it looks for a value."""

    type: ClassVar = RndisType.QUERY_COMPLETE
    request_id: int = u32(8)
    status: int = u32(12, default=RndisStatus.SUCCESS)
    length: int = u32(16, default=0)
    offset: int = u32(20, default=16)


@structure(start=HEADER_SIZE)
class Set(Informed):
    """Guest: give ``oid`` this value."""

    type: ClassVar = RndisType.SET
    request_id: int = u32(8)
    oid: int = u32(12)
    length: int = u32(16, default=0)
    offset: int = u32(20, default=20)
    vc_handle: int = u32(24, default=0)


@structure(start=HEADER_SIZE)
class SetComplete(RndisMessage):
    """Done, or why not."""

    type: ClassVar = RndisType.SET_COMPLETE
    request_id: int = u32(8)
    status: int = u32(12, default=RndisStatus.SUCCESS)


@structure(start=HEADER_SIZE)
class Reset(RndisMessage):
    """Guest. Has no request id; Linux never sends it."""

    type: ClassVar = RndisType.RESET
    reserved: int = u32(8, default=0)


@structure(start=HEADER_SIZE)
class ResetComplete(RndisMessage):
    """``addressing_reset`` 1: the guest must set its packet filter again."""

    type: ClassVar = RndisType.RESET_COMPLETE
    status: int = u32(8, default=RndisStatus.SUCCESS)
    addressing_reset: int = u32(12, default=1)


@structure(start=HEADER_SIZE)
class IndicateStatus(Informed):
    """Host, unasked: the link changed. LINK_SPEED_CHANGE brings the speed, u32 in units of 100 bit/s."""

    type: ClassVar = RndisType.INDICATE_STATUS
    status: int = u32(8)
    length: int = u32(12, default=0)
    offset: int = u32(16, default=0)


@structure(start=HEADER_SIZE)
class KeepAlive(RndisMessage):
    """Guest. Linux never sends it."""

    type: ClassVar = RndisType.KEEPALIVE
    request_id: int = u32(8)


@structure(start=HEADER_SIZE)
class KeepAliveComplete(RndisMessage):
    """Still here."""

    type: ClassVar = RndisType.KEEPALIVE_COMPLETE
    request_id: int = u32(8)
    status: int = u32(12, default=RndisStatus.SUCCESS)
