"""The SynIC as bits and bytes: registers, the message page, the event-flags page.

One synthetic interrupt controller per virtual processor. Registers and pages are in the TLFS chapter on inter-partition
communication; numbers and layouts in asm/hyperv-tlfs.h (x86 register numbers; arm64 has others for the same things).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Pfn, Sint
from protocol.wire.fields import Field, raw_field
from protocol.wire.layout import Layout, Readable

SINT_COUNT = 16
MESSAGE_SINT = Sint(2)
"""``VMBUS_MESSAGE_SINT``: the VMBus uses it for control messages and for event flags."""

FIRST_VALID_VECTOR = 16
HYPERVISOR_CALLBACK_VECTOR = 0xF3
HYPERV_STIMER0_VECTOR = 0xED

MESSAGE_SIZE = 256
MAX_PAYLOAD = 240
MESSAGE_PENDING = 0x1
"""In ``flags`` of a slot: another message waits, write EOM after emptying the slot."""

HVMSG_NONE = 0
HVMSG_TIMER_EXPIRED = 0x8000_0010
VMBUS_MESSAGE_TYPE = 1
"""SynIC message type of every VMBus control message; the guest posts under the same number."""

EVENT_FLAGS = 2048
"""Flags per SINT; flag number = relid, and flag 0 is no channel."""
EVENT_FLAGS_SIZE = 256

CONTROL_ENABLE = 0x1
"""SCONTROL, bit 0."""


class Register(IntEnum):
    """The SynIC's MSRs."""

    SCONTROL = 0x4000_0080
    SVERSION = 0x4000_0081
    SIEFP = 0x4000_0082
    SIMP = 0x4000_0083
    EOM = 0x4000_0084
    SINT0 = 0x4000_0090
    SINT1 = 0x4000_0091
    SINT2 = 0x4000_0092
    SINT3 = 0x4000_0093
    SINT4 = 0x4000_0094
    SINT5 = 0x4000_0095
    SINT6 = 0x4000_0096
    SINT7 = 0x4000_0097
    SINT8 = 0x4000_0098
    SINT9 = 0x4000_0099
    SINT10 = 0x4000_009A
    SINT11 = 0x4000_009B
    SINT12 = 0x4000_009C
    SINT13 = 0x4000_009D
    SINT14 = 0x4000_009E
    SINT15 = 0x4000_009F

    @classmethod
    def sint(cls, number: int) -> "Register":
        return cls(cls.SINT0 + number)


@dataclass(frozen=True, slots=True)
class SintConfig:
    """Value of a SINTn register; the defaults are its reset value. ``polling``: set the state, raise no interrupt."""

    vector: int = 0
    masked: bool = True
    auto_eoi: bool = False
    polling: bool = False

    def encode(self) -> int:
        return self.vector | self.masked << 16 | self.auto_eoi << 17 | self.polling << 18

    @classmethod
    def decode(cls, value: int) -> Self:
        return cls(value & 0xFF, bool(value >> 16 & 1), bool(value >> 17 & 1), bool(value >> 18 & 1))


@dataclass(frozen=True, slots=True)
class SynicPage:
    """Value of SIMP or SIEFP: whether the page is there, and which page of guest memory it is."""

    enabled: bool = False
    pfn: Pfn = Pfn(0)  # noqa: RUF009

    def encode(self) -> int:
        return self.enabled | self.pfn * PAGE_SIZE

    @classmethod
    def decode(cls, value: int) -> Self:
        return cls(bool(value & 1), Pfn(value // PAGE_SIZE))


SLOT = Layout(
    "hv_message",
    {
        "message_type": Field(0, "I"),
        "payload_size": Field(4, "B"),
        "flags": Field(5, "B"),
        "sender": Field(8, "Q"),
        "payload": raw_field(16, MAX_PAYLOAD),
    },
)
"""One slot of the message page; slot n belongs to SINTn. ``message_type`` is stored last and cleared first."""


@dataclass(frozen=True, slots=True)
class SynicMessage:
    """What a slot holds. ``message_type`` 0 is an empty slot; Hyper-V's guests do not look at ``sender``."""

    message_type: int
    flags: int
    sender: int
    payload: bytes

    def encode(self) -> bytes:
        """All 256 bytes of the slot. Raises DoesNotFit."""
        return SLOT.pack(self.message_type, len(self.payload), self.flags, self.sender, self.payload)

    @classmethod
    def decode(cls, data: Readable, at: int = 0) -> Self:
        """The slot at ``data[at]``, payload cut to size. Raises ShortMessage, and PeerError for a size above 240."""
        message_type, payload_size, flags, sender, payload = SLOT.unpack(data, at)
        if payload_size > MAX_PAYLOAD:
            raise PeerError(f"hv_message.payload_size: {payload_size}, at most {MAX_PAYLOAD}")
        return cls(message_type, flags, sender, payload[:payload_size])


def slot_offset(sint: int) -> int:
    """Byte offset of a SINT's slot in the message page."""
    return sint * MESSAGE_SIZE


def event_flag_word(sint: int, flag: int) -> tuple[int, int]:
    """Where a flag is in the event-flags page seen as u64: (index of the word, mask of the bit)."""
    return sint * (EVENT_FLAGS_SIZE // 8) + flag // 64, 1 << flag % 64


def flags_in(word: int, index: int) -> Iterator[int]:
    """The numbers of the flags that are set in the ``index``-th u64 of a SINT's 256 bytes, lowest first."""
    while word:
        lowest = word & -word
        yield index * 64 + lowest.bit_length() - 1
        word ^= lowest
