"""Integration services: the frame they share, version negotiation, and the bodies of heartbeat, time sync and shutdown.

The host speaks first; the guest writes its answer into the same frame and sends it back as a new in-band packet with
the response flag (hv_util.c). Layouts are in linux/hyperv.h; KVP, VSS and file copy only negotiate here.
"""

import struct
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from typing import NamedTuple, Self

from protocol.errors import PeerError
from protocol.wire import pipe
from protocol.wire.fields import Field, raw, u8, u32, u64
from protocol.wire.layout import DoesNotFit, Layout, Readable, Structure, structure

EPOCH_1601 = 116_444_736_000_000_000
"""``WLTIMEDELTA``: the Unix epoch in units of 100 ns since 1601-01-01 UTC."""
MAX_NEGOTIATED_VERSIONS = 100
"""``IC_VERSION_NEGOTIATION_MAX_VER_COUNT``."""


class IcMessage(IntEnum):
    """``ICMSGTYPE_*``."""

    NEGOTIATE = 0
    HEARTBEAT = 1
    KVPEXCHANGE = 2
    SHUTDOWN = 3
    TIMESYNC = 4
    VSS = 5
    FCOPY = 7


class IcFlags(IntFlag):
    """``ICMSGHDRFLAG_*``."""

    TRANSACTION = 1
    REQUEST = 2
    RESPONSE = 4


class IcStatus(IntEnum):
    """``HV_S_OK`` and others of uapi/linux/hyperv.h."""

    OK = 0
    CONTINUE = 0x8007_0103
    FAIL = 0x8000_4005
    NOT_SUPPORTED = 0x8007_0032


class IcVersion(NamedTuple):
    major: int
    minor: int


NOT_NEGOTIATED = IcVersion(0, 0)

ICMSG = Layout(
    "icmsg_hdr",
    {
        "framework_major": Field(0, "H"),
        "framework_minor": Field(2, "H"),
        "message_type": Field(4, "H"),
        "message_major": Field(6, "H"),
        "message_minor": Field(8, "H"),
        "body_size": Field(10, "H"),
        "status": Field(12, "I"),
        "transaction": Field(16, "B"),
        "flags": Field(17, "B"),
    },
    size=20,
)


@dataclass(frozen=True, slots=True)
class IcFrame:
    """One message of an integration service, pipe header included when it is bytes."""

    message_type: int
    body: bytes
    framework: IcVersion = NOT_NEGOTIATED
    version: IcVersion = NOT_NEGOTIATED
    status: int = 0
    transaction: int = 0
    flags: int = IcFlags.TRANSACTION | IcFlags.REQUEST

    def encode(self) -> bytes:
        """A ring payload. Raises DoesNotFit."""
        header = ICMSG.pack(
            *self.framework, self.message_type, *self.version, len(self.body), self.status, self.transaction, self.flags
        )
        return pipe.wrap(header + self.body)

    @classmethod
    def decode(cls, payload: Readable) -> Self:
        """Raises PeerError for a wrong pipe header, a short frame, or a body shorter than announced."""
        frame = pipe.unwrap(payload)
        major, minor, kind, version_major, version_minor, size, status, transaction, flags = ICMSG.unpack(frame)
        body = bytes(frame[ICMSG.size : ICMSG.size + size])
        if len(body) < size:
            raise PeerError(f"icmsg_hdr.icmsgsize: {size} announced, {len(body)} there")
        version = IcVersion(version_major, version_minor)
        return cls(kind, body, IcVersion(major, minor), version, status, transaction, flags)

    def answer(self, body: bytes, status: int = IcStatus.OK) -> Self:
        """The guest's reply to this frame: same frame, response flag."""
        return replace(self, body=body, status=status, flags=IcFlags.TRANSACTION | IcFlags.RESPONSE)


NEGOTIATE = Layout("icmsg_negotiate", {"framework_count": Field(0, "H"), "message_count": Field(2, "H")}, size=8)
_VERSION = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class Negotiate:
    """Body of NEGOTIATE: all versions the host has; the guest's choice (one of each); or nothing in common (none).

    ``vmbus_prep_negotiate_resp`` takes the highest of its own list that was offered.
    """

    frameworks: tuple[IcVersion, ...]
    messages: tuple[IcVersion, ...]

    def encode(self) -> bytes:
        versions = (*self.frameworks, *self.messages)
        if len(versions) > MAX_NEGOTIATED_VERSIONS:
            raise DoesNotFit(f"icmsg_negotiate: {len(versions)} versions, at most {MAX_NEGOTIATED_VERSIONS}")
        counts = NEGOTIATE.pack(len(self.frameworks), len(self.messages))
        return counts + b"".join(_VERSION.pack(*version) for version in versions)

    @classmethod
    def decode(cls, body: Readable) -> Self:
        """Raises PeerError if there are fewer versions than counted, or more than 100."""
        frameworks, messages = NEGOTIATE.unpack(body)
        count = frameworks + messages
        if count > MAX_NEGOTIATED_VERSIONS or NEGOTIATE.size + count * _VERSION.size > len(body):
            raise PeerError(f"icmsg_negotiate: {frameworks} + {messages} versions in {len(body)} bytes")
        versions = tuple(
            IcVersion(*_VERSION.unpack_from(body, NEGOTIATE.size + number * _VERSION.size)) for number in range(count)
        )
        return cls(versions[:frameworks], versions[frameworks:])


@structure(size=40)
class Heartbeat(Structure):
    """The guest adds one and sends it back. ``application_state`` is OpenVMM's name; Linux has it reserved."""

    sequence: int = u64(0)
    application_state: int = u32(8, default=0)


class TimeSyncFlags(IntFlag):
    """``ICTIMESYNCFLAG_*``: SYNC sets the guest's clock, SAMPLE only feeds its PTP clock source."""

    PROBE = 0
    SYNC = 1
    SAMPLE = 2


@structure(size=22)
class TimeSync(Structure):
    """``ictimesync_ref_data``, version 4: wall clock (100 ns since 1601) at a reference time (100 ns since start)."""

    parent_time: int = u64(0)
    reference_time: int = u64(8)
    flags: int = u8(16)
    leap: int = u8(17, default=0)
    stratum: int = u8(18, default=0)


@structure()
class TimeSyncV1(Structure):
    """``ictimesync_data``, versions 1 and 3."""

    parent_time: int = u64(0)
    child_time: int = u64(8)
    round_trip: int = u64(16)
    flags: int = u8(24)


@structure()
class Shutdown(Structure):
    """``shutdown_msg_data``. Flags 0 and 1 power off, 2 and 3 restart, 4 and 5 hibernate; bit 0 is "force"."""

    reason: int = u32(0, default=0)
    timeout_seconds: int = u32(4, default=0)
    flags: int = u32(8, default=0)
    message: bytes = raw(12, 2048, default=bytes(2048))
