"""Synthetic video: where the frame buffer is and what changes in it (drivers/video/fbdev/hyperv_fb.c).

In a message pipe, each message is a header and a body. ``size`` counts both, as Linux has it (OpenVMM: the body alone).
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from protocol.errors import PeerError
from protocol.wire import pipe
from protocol.wire.fields import raw, u8, u32, u64
from protocol.wire.layout import Readable, Structure, structure


def version(major: int, minor: int) -> int:
    """``SYNTHVID_VERSION``: unlike everywhere else the minor is in the upper half."""
    return minor << 16 | major


WIN8 = version(3, 2)
WIN10 = version(3, 5)
VERSIONS = (WIN10, WIN8)
"""In the order in which Linux tries them. From WIN10 on the host has a list of resolutions."""
MAX_RESOLUTIONS = 64


class VidMessage(IntEnum):
    """``enum synthvid_msg_type``."""

    VERSION_REQUEST = 1
    VERSION_RESPONSE = 2
    VRAM_LOCATION = 3
    VRAM_LOCATION_ACK = 4
    SITUATION_UPDATE = 5
    SITUATION_UPDATE_ACK = 6
    POINTER_POSITION = 7
    POINTER_SHAPE = 8
    FEATURE_CHANGE = 9
    DIRT = 10
    RESOLUTION_REQUEST = 13
    RESOLUTION_RESPONSE = 14


@structure()
class VidHeader(Structure):
    """``synthvid_msg_hdr``."""

    type: int = u32(0)
    size: int = u32(4)


def message(type: VidMessage, body: bytes) -> bytes:
    """A ring payload."""
    return pipe.wrap(VidHeader(type, VidHeader.layout.size + len(body)).encode() + body)


def parse(payload: Readable) -> tuple[VidHeader, bytes]:
    """Header and body. Raises PeerError for a wrong pipe header or a short message."""
    data = pipe.unwrap(payload)
    return VidHeader.decode(data), bytes(data[VidHeader.layout.size :])


@structure()
class VersionRequest(Structure):
    version: int = u32(0)


@structure()
class VersionResponse(Structure):
    version: int = u32(0)
    is_accepted: int = u8(4)
    max_video_outputs: int = u8(5, default=1)


@structure()
class ResolutionRequest(Structure):
    maximum_count: int = u8(0, default=MAX_RESOLUTIONS)


class Resolution(NamedTuple):
    """Pixels."""

    width: int
    height: int


@structure()
class ResolutionHeader(Structure):
    """``synthvid_supported_resolution_resp`` up to its list."""

    edid: bytes = raw(0, 128, default=bytes(128))
    count: int = u8(128, default=0)
    default_index: int = u8(129, default=0)
    is_standard: int = u8(130, default=0)


_RESOLUTION = struct.Struct("<HH")


def resolutions(choice: Sequence[Resolution], default_index: int = 0) -> bytes:
    """Body of RESOLUTION_RESPONSE: all 64 places, as Linux's structure has them."""
    listed = b"".join(_RESOLUTION.pack(*each) for each in choice)
    header = ResolutionHeader(count=len(choice), default_index=default_index)
    return header.encode() + listed.ljust(MAX_RESOLUTIONS * _RESOLUTION.size, b"\0")


def parse_resolutions(body: Readable) -> tuple[Resolution, ...]:
    """The list, the default first. Raises PeerError if it is shorter than counted or has no default."""
    header = ResolutionHeader.decode(body)
    end = ResolutionHeader.layout.size + header.count * _RESOLUTION.size
    if end > len(body) or (header.count and header.default_index >= header.count):
        raise PeerError(f"resolutions: {header.count}, the default is {header.default_index}, in {len(body)} bytes")
    listed = [Resolution(*pair) for pair in _RESOLUTION.iter_unpack(body[ResolutionHeader.layout.size : end])]
    return (listed.pop(header.default_index), *listed) if listed else ()


@structure()
class VramLocation(Structure):
    """``vram_gpa`` is in the MMIO space that the offer has asked for; Linux uses it as ``user_ctx`` too."""

    user_ctx: int = u64(0)
    is_vram_gpa_specified: int = u8(8)
    vram_gpa: int = u64(9)


@structure()
class Ack(Structure):
    """VRAM_LOCATION_ACK and SITUATION_UPDATE_ACK."""

    user_ctx: int = u64(0)


@structure()
class SituationUpdate(Structure):
    """What is shown on the only output: ``video_output_situation`` is the part from ``active`` on."""

    user_ctx: int = u64(0)
    output_count: int = u8(8)
    active: int = u8(9)
    vram_offset: int = u32(10)
    depth_bits: int = u8(14)
    width: int = u32(15)
    height: int = u32(19)
    pitch: int = u32(23)

    @classmethod
    def of(cls, resolution: "Resolution", depth_bits: int = 32) -> "SituationUpdate":
        """One active output, its lines from the start of the frame buffer on (``synthvid_send_situ``)."""
        width, height = resolution
        return cls(0, 1, 1, 0, depth_bits, width, height, width * depth_bits // 8)


@structure()
class PointerPosition(Structure):
    """Coordinates are signed 32 bits; Linux always says (0, 0)."""

    is_visible: int = u8(0, default=1)
    video_output: int = u8(1, default=0)
    x: int = u32(2, default=0)
    y: int = u32(6, default=0)


POINTER_COMPLETE = 0xFF
"""``CURSOR_COMPLETE``: the shape comes in one part."""


@structure()
class PointerShape(Structure):
    """A pointer of one pixel, if nothing is said."""

    part_index: int = u8(0, default=POINTER_COMPLETE)
    is_argb: int = u8(1, default=1)
    width: int = u32(2, default=1)
    height: int = u32(6, default=1)
    hot_x: int = u32(10, default=0)
    hot_y: int = u32(14, default=0)
    data: bytes = raw(18, 4, default=b"\x00\x01\x01\x01")


@structure()
class FeatureChange(Structure):
    """What the host wants to be told from now on."""

    dirt: int = u8(0, default=1)
    pointer_position: int = u8(1, default=1)
    pointer_shape: int = u8(2, default=1)
    situation: int = u8(3, default=1)


class Rectangle(NamedTuple):
    """Pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int


_RECTANGLE = struct.Struct("<iiii")


@structure()
class DirtHeader(Structure):
    """``synthvid_dirt`` up to its list."""

    video_output: int = u8(0)
    count: int = u8(1)


def dirt(rectangles: Sequence[Rectangle]) -> bytes:
    """Body of DIRT."""
    return DirtHeader(0, len(rectangles)).encode() + b"".join(_RECTANGLE.pack(*each) for each in rectangles)


def parse_dirt(body: Readable) -> tuple[Rectangle, ...]:
    """Raises PeerError if there are fewer rectangles than counted."""
    at, count = DirtHeader.layout.size, DirtHeader.decode(body).count
    if at + count * _RECTANGLE.size > len(body):
        raise PeerError(f"dirt: {count} rectangles in {len(body)} bytes")
    return tuple(Rectangle(*_RECTANGLE.unpack_from(body, at + n * _RECTANGLE.size)) for n in range(count))
