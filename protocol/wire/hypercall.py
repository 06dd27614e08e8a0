"""The two hypercalls of the VMBus: HvPostMessage and HvSignalEvent, and the convention all hypercalls share (TLFS)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from protocol.errors import PeerError
from protocol.ids import ConnectionId
from protocol.wire.fields import Field, raw_field
from protocol.wire.layout import Layout, Readable
from protocol.wire.synic import MAX_PAYLOAD

MESSAGE_CONNECTION = ConnectionId(1)
"""Control messages below protocol 5.0, and afterwards if the host says so."""
EVENT_CONNECTION = ConnectionId(2)
MONITOR_CONNECTION = ConnectionId(3)
MULTI_CLIENT_CONNECTION = ConnectionId(4)
"""INITIATE_CONTACT from 5.0 on (``VMBUS_MESSAGE_CONNECTION_ID_4``); only here do its SINT and VTL count."""


class Code(IntEnum):
    """``HVCALL_*``."""

    SEND_IPI = 0x0B  # HvCallSendSyntheticClusterIpi
    POST_MESSAGE = 0x5C
    SIGNAL_EVENT = 0x5D


class Status(IntEnum):
    """``HV_STATUS_*``, the low 16 bits of a hypercall's result.

    INVALID_VP_INDEX, INVALID_SYNIC_STATE, OBJECT_IN_USE and TIME_OUT are the TLFS's; Linux 6.1 has the others.
    """

    SUCCESS = 0x00
    INVALID_HYPERCALL_CODE = 0x02
    INVALID_HYPERCALL_INPUT = 0x03
    INVALID_ALIGNMENT = 0x04
    INVALID_PARAMETER = 0x05
    ACCESS_DENIED = 0x06
    OPERATION_DENIED = 0x08
    INSUFFICIENT_MEMORY = 0x0B
    INVALID_VP_INDEX = 0x0E
    INVALID_PORT_ID = 0x11
    INVALID_CONNECTION_ID = 0x12
    INSUFFICIENT_BUFFERS = 0x13
    INVALID_SYNIC_STATE = 0x18
    OBJECT_IN_USE = 0x19
    TIME_OUT = 0x78


class BadHypercall(PeerError):
    """The guest's input is refused before anything is looked up; ``status`` is what to answer."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(f"{status.name}: {why}")
        self.status = status


@dataclass(frozen=True, slots=True)
class ControlWord:
    """The first argument of every hypercall. Sizes of the variable header are in qwords."""

    code: int
    fast: bool = False
    variable_header: int = 0
    nested: bool = False
    rep_count: int = 0
    rep_start: int = 0

    _RESERVED = 0xF << 27 | 0xF << 44 | 0xF << 60

    def encode(self) -> int:
        return (
            self.code
            | self.fast << 16
            | self.variable_header << 17
            | self.nested << 31
            | self.rep_count << 32
            | self.rep_start << 48
        )

    @classmethod
    def decode(cls, value: int) -> Self:
        """Raises BadHypercall (INVALID_HYPERCALL_INPUT) if reserved bits are set."""
        if value & cls._RESERVED:
            raise BadHypercall(Status.INVALID_HYPERCALL_INPUT, f"reserved bits in control word {value:#x}")
        return cls(
            value & 0xFFFF,
            bool(value >> 16 & 1),
            value >> 17 & 0x3FF,
            bool(value >> 31 & 1),
            value >> 32 & 0xFFF,
            value >> 48 & 0xFFF,
        )


POST_MESSAGE = Layout(
    "HvPostMessage",
    {
        "connection_id": Field(0, "I"),
        "reserved": Field(4, "I"),
        "message_type": Field(8, "I"),
        "payload_size": Field(12, "I"),
        "payload": raw_field(16, MAX_PAYLOAD),
    },
)
"""256 bytes; the structure is in the TLFS and in Linux's drivers/hv/hyperv_vmbus.h (``hv_input_post_message``)."""


@dataclass(frozen=True, slots=True)
class PostMessageInput:
    """Input of HvPostMessage: this payload to the port that the connection leads to."""

    connection_id: ConnectionId
    message_type: int
    payload: bytes

    def encode(self) -> bytes:
        """All 256 bytes. Raises DoesNotFit."""
        return POST_MESSAGE.pack(self.connection_id, 0, self.message_type, len(self.payload), self.payload)

    @classmethod
    def decode(cls, data: Readable, at: int = 0) -> Self:
        """Raises ShortMessage, and BadHypercall for a type of 0 or the hypervisor's, or a size above 240."""
        connection_id, _, message_type, payload_size, payload = POST_MESSAGE.unpack(data, at)
        if payload_size > MAX_PAYLOAD or not 0 < message_type < 1 << 31:
            raise BadHypercall(Status.INVALID_PARAMETER, f"message type {message_type:#x}, {payload_size} bytes")
        return cls(connection_id, message_type, payload[:payload_size])


@dataclass(frozen=True, slots=True)
class SignalEventInput:
    """Input of HvSignalEvent: 8 bytes that Linux passes in a register. The VMBus uses flag 0 of every port."""

    connection_id: ConnectionId
    flag: int = 0

    def encode(self) -> int:
        return self.connection_id | self.flag << 32

    @classmethod
    def decode(cls, value: int) -> Self:
        """Raises BadHypercall (INVALID_HYPERCALL_INPUT) if the reserved upper 16 bits are set."""
        if value >> 48:
            raise BadHypercall(Status.INVALID_HYPERCALL_INPUT, f"reserved bits in signal {value:#x}")
        return cls(ConnectionId(value & 0xFFFF_FFFF), value >> 32)
