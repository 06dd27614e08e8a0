"""The synthetic mouse, which is any HID device (drivers/hid/hid-hyperv.c; OpenVMM uidevices).

In a message pipe, each message is a header and a body; ``size`` is that of the body.
"""

from enum import IntEnum, IntFlag

from protocol.errors import PeerError
from protocol.wire import pipe
from protocol.wire.fields import u8, u16, u32
from protocol.wire.layout import Readable, Structure, structure

VERSION = 0x2_0000
"""``SYNTHHID_INPUT_VERSION`` 2.0: major in the upper half."""


class HidMessage(IntEnum):
    """``enum synthhid_msg_type``."""

    PROTOCOL_REQUEST = 0
    PROTOCOL_RESPONSE = 1
    INITIAL_DEVICE_INFO = 2
    INITIAL_DEVICE_INFO_ACK = 3
    INPUT_REPORT = 4


@structure()
class HidHeader(Structure):
    """``synthhid_msg_hdr``."""

    type: int = u32(0)
    size: int = u32(4)


def message(type: HidMessage, body: bytes) -> bytes:
    """A ring payload."""
    return pipe.wrap(HidHeader(type, len(body)).encode() + body)


def parse(payload: Readable) -> tuple[HidHeader, bytes]:
    """Header and body. Raises PeerError if the message is not all there."""
    data = pipe.unwrap(payload)
    header = HidHeader.decode(data)
    body = bytes(data[HidHeader.layout.size :])
    if header.size > len(body):
        raise PeerError(f"synthhid_msg_hdr.size: {header.size} announced, {len(body)} there")
    return header, body


@structure()
class ProtocolRequest(Structure):
    version: int = u32(0)


@structure()
class ProtocolResponse(Structure):
    """Linux looks at ``approved`` alone."""

    version: int = u32(0)
    approved: int = u8(4)


HID_DESCRIPTOR_TYPE = 0x21
REPORT_DESCRIPTOR_TYPE = 0x22


@structure()
class DeviceInfo(Structure):
    """``hv_input_dev_info`` and the ``hid_descriptor`` behind it; then the report descriptor follows."""

    size: int = u32(0, default=32)
    vendor: int = u16(4, default=0x045E)
    product: int = u16(6, default=0x0621)
    version: int = u16(8, default=1)
    length: int = u8(32, default=9)
    descriptor_type: int = u8(33, default=HID_DESCRIPTOR_TYPE)
    bcd_hid: int = u16(34, default=0x0101)
    country: int = u8(36, default=0)
    descriptors: int = u8(37, default=1)
    report_type: int = u8(38, default=REPORT_DESCRIPTOR_TYPE)
    report_length: int = u16(39, default=0)


@structure()
class DeviceInfoAck(Structure):
    reserved: int = u8(0, default=0)


class Button(IntFlag):
    """Of a report."""

    NONE = 0
    LEFT = 1
    RIGHT = 2
    MIDDLE = 4


MAX_AXIS = 0x7FFF
"""The right and the lower edge of the screen."""


@structure()
class MouseReport(Structure):
    """What ``REPORT_DESCRIPTOR`` describes: an absolute position, and steps of the wheel in two's complement."""

    buttons: int = u8(0)
    x: int = u16(1)
    y: int = u16(3)
    wheel: int = u16(5, default=0)


REPORT_DESCRIPTOR = bytes.fromhex(
    "05 01 09 02 a1 01 09 01 a1 00"  # generic desktop, mouse: a collection; pointer: a collection
    "05 09 19 01 29 05 15 00 25 01 95 05 75 01 81 02"  # buttons 1 to 5, a bit each
    "95 01 75 03 81 03"  # three bits of padding
    "05 01 09 30 09 31 15 00 26 ff 7f 75 10 95 02 81 02"  # X and Y: 0 to 0x7fff, 16 bits, absolute
    "09 38 16 01 80 26 ff 7f 75 10 95 01 81 06"  # wheel: 16 bits, relative
    "c0 c0"
)
"""HID 1.11, section 6.2.2."""
