"""hyperv_keyboard: scan codes from the host. Here nobody is behind them, so they are counted."""

from __future__ import annotations

import errno
from typing import Final

from guest.drivers.conversation import ConversationWords, ConversingDriver, answer, answered, opened, send
from guest.kernel.memory import Word
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE
from protocol.ring import COMPLETION_REQUESTED
from protocol.wire.guids import HV_KBD_GUID
from protocol.wire.layout import Readable
from protocol.wire.synthkbd import (
    ACCEPTED,
    VERSION,
    KbdHeader,
    KbdMessage,
    Key,
    Keystroke,
    ProtocolRequest,
    ProtocolResponse,
)

RING_SIZE: Final = 9 * PAGE_SIZE
"""``KBD_VSC_SEND_RING_BUFFER_SIZE``: 36 KiB, the control page included."""
TIMEOUT: Final = 10.0


class KeyboardWords(ConversationWords):
    """``struct hv_kbd_dev``."""

    responses = Word("probing CPU before it asks, channel callback after")
    proto_status = Word("channel callback")
    makes = Word("channel callback")
    breaks = Word("channel callback")
    scan_code = Word("channel callback")
    """The last one as serio would get it: with 0x80 for a break, and the prefix, if any, in the upper byte."""


class HypervKeyboard(ConversingDriver[KeyboardWords]):
    """``hv_kbd_drv``."""

    name = "hyperv_keyboard"
    id_table = (HV_KBD_GUID,)
    words = KeyboardWords

    async def probe(self, device: VmbusDevice) -> None:
        """``hv_kbd_probe``. Raises ETIMEDOUT, or ENODEV if the host does not accept the version."""
        channel = device.channel
        words = channel.state(KeyboardWords)
        async with opened(channel, RING_SIZE):
            words.responses = 0
            request = ProtocolRequest(KbdMessage.PROTOCOL_REQUEST, VERSION).encode()
            send(channel, request, flags=COMPLETION_REQUESTED)
            await answer(channel, words, lambda: words.responses != 0, TIMEOUT)
            if not words.proto_status & ACCEPTED:
                self.bus.printk(f"{self.name} {device.name}: synth_kbd protocol request failed (version {VERSION})")
                raise VmbusError(errno.ENODEV, "the host does not accept the keyboard's version")

    def receive(self, channel: VmbusChannel, words: KeyboardWords, payload: Readable) -> None:
        """``hv_kbd_on_receive``."""
        match KbdHeader.decode(payload).type:
            case KbdMessage.PROTOCOL_RESPONSE:
                words.proto_status = ProtocolResponse.decode(payload).status
                words.responses += 1
                answered(channel, words)
            case KbdMessage.EVENT:
                self._key(words, Keystroke.decode(payload))
            case _:
                words.illegal += 1

    @staticmethod
    def _key(words: KeyboardWords, stroke: Keystroke) -> None:
        prefix = 0xE0 if stroke.info & Key.E0 else 0xE1 if stroke.info & Key.E1 else 0
        if stroke.info & Key.BREAK:
            words.breaks += 1
        else:
            words.makes += 1
        words.scan_code = prefix << 8 | stroke.make_code & 0xFF | (0x80 if stroke.info & Key.BREAK else 0)
