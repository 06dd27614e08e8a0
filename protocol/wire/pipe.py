"""The pipe header, in front of every payload of a channel in pipe mode (``struct vmbuspipe_hdr``)."""

import struct
from enum import IntEnum

from protocol.errors import PeerError
from protocol.wire.layout import Readable

MAX_PIPE_DATA_PAYLOAD = 16384
_HEADER = struct.Struct("<II")
HEADER_SIZE = _HEADER.size


class PipeMode(IntEnum):
    """First u32 of an offer's user-defined bytes if it has NAMED_PIPE_MODE (``VMBUS_PIPE_TYPE_*``)."""

    BYTE = 0
    MESSAGE = 4


class PipePacket(IntEnum):
    """First u32 of each payload (OpenVMM, vmbus_ring). Linux guests know DATA alone."""

    DATA = 1
    PARTIAL = 2
    SETUP_GPA_DIRECT = 3
    TEARDOWN_GPA_DIRECT = 4
    INDICATION_COMPLETE = 5


def wrap(data: bytes) -> bytes:
    """The payload that carries ``data``."""
    return _HEADER.pack(PipePacket.DATA, len(data)) + data


def unwrap(payload: Readable) -> Readable:
    """The data of a payload, without the ring's padding. Raises PeerError if it is no data or is cut."""
    if len(payload) < _HEADER.size:
        raise PeerError(f"pipe header: {len(payload)} bytes")
    kind, length = _HEADER.unpack_from(payload)
    if kind != PipePacket.DATA or length > len(payload) - _HEADER.size:
        raise PeerError(f"pipe header: type {kind}, {length} bytes announced, {len(payload) - _HEADER.size} there")
    return payload[_HEADER.size : _HEADER.size + length]
