"""NVSP, the network protocol of netvsc: set-up of shared buffers, and the envelope of every RNDIS message.

A message is a u32 type and a body, padded with zeros to ``MESSAGE_SIZE``. Requests of the guest are in-band packets, or
GPA-direct ones if they bring pages; answers are completions; what the host sends unasked is in-band or, with data,
transfer pages. Layouts and numbers from Linux's drivers/net/hyperv/hyperv_net.h; versions 1 to 6.1.

Left out: chimney, VMQ, OID_QUERY_EX and packet direct, which no guest in sight sends.
"""

import struct
from collections.abc import Sequence
from typing import ClassVar, Self

from protocol.errors import PeerError
from protocol.ids import GpadlId
from protocol.wire.fields import u16, u32, u64
from protocol.wire.layout import Readable, ShortMessage, Structure, structure
from protocol.wire.nvsp_numbers import (
    HEADER_SIZE,
    MESSAGE_SIZE,
    NO_SECTION,
    RECEIVE_BUFFER_ID,
    SEND_BUFFER_ID,
    SEND_TABLE_SIZE,
    NvspType,
)

_HEADER = struct.Struct("<I")
_TABLE = struct.Struct(f"<{SEND_TABLE_SIZE}I")


class WrongNvspType(PeerError):
    """Another message than the one that must stand here."""


def type_of(payload: Readable) -> int:
    """The type of a message. Raises ShortMessage."""
    if len(payload) < HEADER_SIZE:
        raise ShortMessage("nvsp_message", "msg_type", HEADER_SIZE, len(payload))
    number: int = _HEADER.unpack_from(payload)[0]
    return number


class NvspMessage(Structure):
    """Base of the messages. Offsets count from the type."""

    __slots__ = ()
    type: ClassVar[NvspType]

    def encode(self) -> bytes:
        """The whole message, padded to ``MESSAGE_SIZE``."""
        return (_HEADER.pack(self.type) + self.layout.pack(*self.layout.values_of(self))).ljust(MESSAGE_SIZE, b"\0")

    @classmethod
    def decode(cls, data: Readable, at: int = 0) -> Self:
        """Raises WrongNvspType and ShortMessage; extra bytes do not matter."""
        if (number := type_of(data[at:])) != cls.type:
            raise WrongNvspType(f"NVSP message {number} where {cls.type.name} was expected")
        return cls(*cls.layout.unpack(data, at))


@structure(start=HEADER_SIZE)
class Init(NvspMessage):
    """Guest: this version, or a range of versions. Linux makes both the same. Answer: ``InitComplete``."""

    type: ClassVar = NvspType.INIT
    min_version: int = u32(4)
    max_version: int = u32(8)


@structure(start=HEADER_SIZE)
class InitComplete(NvspMessage):
    """Any status but SUCCESS makes Linux ask for its next lower version."""

    type: ClassVar = NvspType.INIT_COMPLETE
    version: int = u32(4)
    max_mdl_chain: int = u32(8)
    status: int = u32(12)


@structure(start=HEADER_SIZE)
class NdisVersion(NvspMessage):
    """Guest, unanswered: 6.30 from version 5 on, 6.1 before."""

    type: ClassVar = NvspType.SEND_NDIS_VERSION
    major: int = u32(4)
    minor: int = u32(8)


@structure(start=HEADER_SIZE)
class ReceiveBuffer(NvspMessage):
    """Guest: the host may write its messages here. Answer: ``ReceiveBufferComplete``."""

    type: ClassVar = NvspType.SEND_RECV_BUF
    gpadl: GpadlId = u32(4)
    id: int = u16(8, default=RECEIVE_BUFFER_ID)


@structure(start=HEADER_SIZE)
class ReceiveBufferComplete(NvspMessage):
    """How the host cuts the buffer up. Linux insists on one section, at offset 0, that fits into the buffer."""

    type: ClassVar = NvspType.SEND_RECV_BUF_COMPLETE
    status: int = u32(4)
    sections: int = u32(8, default=0)
    offset: int = u32(12, default=0)
    sub_alloc_size: int = u32(16, default=0)
    sub_allocs: int = u32(20, default=0)
    end_offset: int = u32(24, default=0)


@structure(start=HEADER_SIZE)
class RevokeReceiveBuffer(NvspMessage):
    """Guest, unanswered: the host must not write there any more."""

    type: ClassVar = NvspType.REVOKE_RECV_BUF
    id: int = u16(4, default=RECEIVE_BUFFER_ID)


@structure(start=HEADER_SIZE)
class SendBuffer(NvspMessage):
    """Guest: small messages will be here, in sections. Answer: ``SendBufferComplete``."""

    type: ClassVar = NvspType.SEND_SEND_BUF
    gpadl: GpadlId = u32(4)
    id: int = u16(8, default=SEND_BUFFER_ID)


@structure(start=HEADER_SIZE)
class SendBufferComplete(NvspMessage):
    """The section size is the host's choice; the number of sections follows."""

    type: ClassVar = NvspType.SEND_SEND_BUF_COMPLETE
    status: int = u32(4)
    section_size: int = u32(8, default=0)


@structure(start=HEADER_SIZE)
class RevokeSendBuffer(NvspMessage):
    """Guest, unanswered."""

    type: ClassVar = NvspType.REVOKE_SEND_BUF
    id: int = u16(4, default=SEND_BUFFER_ID)


@structure(start=HEADER_SIZE)
class RndisPacket(NvspMessage):
    """Both ways: RNDIS messages are in the section, in the packet's ranges, or first in one and then in the other."""

    type: ClassVar = NvspType.SEND_RNDIS_PKT
    channel_type: int = u32(4)
    section_index: int = u32(8, default=NO_SECTION)
    section_size: int = u32(12, default=0)


@structure(start=HEADER_SIZE)
class RndisPacketComplete(NvspMessage):
    """Both ways: whoever sent the packet may use its memory again. Linux sends the first 8 bytes alone."""

    type: ClassVar = NvspType.SEND_RNDIS_PKT_COMPLETE
    status: int = u32(4)


@structure(start=HEADER_SIZE)
class NdisConfig(NvspMessage):
    """Guest, unanswered, from version 2 on: ``mtu`` is that of the interface and the 14 bytes of an Ethernet header."""

    type: ClassVar = NvspType.SEND_NDIS_CONFIG
    mtu: int = u32(4)
    capabilities: int = u64(12)


@structure(start=HEADER_SIZE)
class VfAssociation(NvspMessage):
    """Host: a virtual function with this serial number belongs to the NIC, or no longer does."""

    type: ClassVar = NvspType.SEND_VF_ASSOCIATION
    allocated: int = u32(4)
    serial: int = u32(8)


@structure(start=HEADER_SIZE)
class SwitchDataPath(NvspMessage):
    """Guest: from now on traffic takes this path (``DataPath``). Linux takes any completion for an answer."""

    type: ClassVar = NvspType.SWITCH_DATA_PATH
    active: int = u32(4)


@structure(start=HEADER_SIZE)
class SubChannelRequest(NvspMessage):
    """Guest, from version 5 on: offer so many sub-channels. Answer: ``SubChannelComplete``, of the same type."""

    type: ClassVar = NvspType.SUBCHANNEL
    operation: int = u32(4)
    count: int = u32(8)


@structure(start=HEADER_SIZE)
class SubChannelComplete(NvspMessage):
    """So many will be offered; Linux refuses more than it asked for, and waits for all of them without end."""

    type: ClassVar = NvspType.SUBCHANNEL
    status: int = u32(4)
    count: int = u32(8)


@structure(start=HEADER_SIZE)
class SendIndirectionTable(NvspMessage):
    """Host: which channel the guest should send on, by hash; u32[count] at ``offset`` of the message."""

    type: ClassVar = NvspType.SEND_INDIRECTION_TABLE
    count: int = u32(4, default=SEND_TABLE_SIZE)
    offset: int = u32(8, default=MESSAGE_SIZE)


def encode_send_table(channels: Sequence[int]) -> bytes:
    """The message with its 16 entries, which are where Linux looks for them up to version 6, whatever the offset."""
    return SendIndirectionTable().encode() + _TABLE.pack(*channels)


def decode_send_table(payload: Readable) -> tuple[int, ...]:
    """The entries, as ``netvsc_send_table`` finds them. Raises PeerError for another count or an offset outside."""
    message = SendIndirectionTable.decode(payload)
    if message.count != SEND_TABLE_SIZE or message.offset + _TABLE.size > len(payload):
        raise PeerError(f"NVSP send table: {message.count} entries at {message.offset} of {len(payload)} bytes")
    return _TABLE.unpack_from(payload, message.offset)
