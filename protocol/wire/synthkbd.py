"""The synthetic keyboard: scan codes of set 1 (drivers/input/serio/hyperv-keyboard.c; OpenVMM uidevices).

Packets are raw, without a pipe header, and begin with their type.
"""

from enum import IntEnum, IntFlag

from protocol.wire.fields import u16, u32
from protocol.wire.layout import Structure, structure

VERSION = 0x1_0000
"""1.0: major in the upper half."""
ACCEPTED = 1
"""Bit of ``ProtocolResponse.status``."""


class KbdMessage(IntEnum):
    """``enum synth_kbd_msg_type``."""

    PROTOCOL_REQUEST = 1
    PROTOCOL_RESPONSE = 2
    EVENT = 3
    LED_INDICATORS = 4


class Key(IntFlag):
    """``info`` of a keystroke. BREAK: the key is released. E0 and E1: the prefix byte comes first."""

    MAKE = 0
    UNICODE = 1
    BREAK = 2
    E0 = 4
    E1 = 8


class Led(IntFlag):
    """Lights, as OpenVMM names them."""

    SCROLL_LOCK = 1
    NUM_LOCK = 2
    CAPS_LOCK = 4


@structure()
class KbdHeader(Structure):
    type: int = u32(0)


@structure()
class ProtocolRequest(Structure):
    """``synth_kbd_protocol_request``."""

    type: int = u32(0)
    version: int = u32(4)


@structure()
class ProtocolResponse(Structure):
    """``synth_kbd_protocol_response``."""

    type: int = u32(0)
    status: int = u32(4)


@structure()
class Keystroke(Structure):
    """``synth_kbd_keystroke``."""

    type: int = u32(0)
    make_code: int = u16(4)
    info: int = u32(8)


@structure()
class LedIndicators(Structure):
    """What the guest may say about the lights; Linux never does."""

    type: int = u32(0)
    leds: int = u16(4)
