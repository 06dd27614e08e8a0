"""The host's end of the synthetic keyboard (OpenVMM uidevices; the guest is hyperv-keyboard.c)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Offer, Services
from host.vsp.input.scan_codes import LEFT_SHIFT, key_for
from host.vsp.periodic import Periodic
from host.vsp.single_channel import SingleChannel
from protocol.errors import OperatorError, PeerError
from protocol.wire.guids import HV_KBD_GUID
from protocol.wire.offers import ChannelFlags
from protocol.wire.synthkbd import (
    ACCEPTED,
    VERSION,
    KbdHeader,
    KbdMessage,
    Key,
    Keystroke,
    LedIndicators,
    ProtocolRequest,
    ProtocolResponse,
)

INSTANCE: Final = UUID("d34b2567-b9b6-42b9-8778-0a4ec0b955bf")
IDLE_TEXT: Final = "vmbus "
"""What is typed, a key at a time, if somebody wants keys to be pressed all the time."""


class Keyboard(SingleChannel):
    """Silent until somebody types. ``every``: seconds between keys that press themselves; 0: none do.

    Nothing is sent before the guest's version is accepted: Linux would take it for the answer.
    """

    name = "keyboard"

    def __init__(self, services: Services, every: float = 0.0) -> None:
        super().__init__(services, Offer(HV_KBD_GUID, INSTANCE, ChannelFlags.ENUMERATE_DEVICE_INTERFACE))
        self.ready = False
        self.leds = 0
        """``Led`` bits that the guest has set."""
        self.events = self._dropped = self._led_updates = self._typed = 0
        self._typing = Periodic(services, every, self._type_next)

    def counts(self) -> dict[str, int]:
        return {"events": self.events, "dropped": self._dropped, "led_updates": self._led_updates}

    def reset(self) -> None:
        self.ready = False
        self._typing.stop()

    def press(self, code: int, prefix: Key = Key.MAKE) -> None:
        """Press a key and let it go. Raises OperatorError if the guest has no keyboard driver."""
        self.stroke(code, prefix)
        self.stroke(code, prefix | Key.BREAK)

    def stroke(self, code: int, info: Key) -> None:
        """One event: a make, or a break."""
        if not self.ready:
            raise OperatorError("the guest has no keyboard: is its hyperv_keyboard driver loaded?")
        if self.congested:
            self._dropped += 1
            return
        self.events += 1
        self.post(Keystroke(KbdMessage.EVENT, code, info).encode())

    def type_text(self, text: str) -> None:
        """Type. Raises OperatorError, before the first key, for a character that no key makes."""
        for code, shift in [key_for(character) for character in text]:
            if shift:
                self.stroke(LEFT_SHIFT, Key.MAKE)
            self.press(code)
            if shift:
                self.stroke(LEFT_SHIFT, Key.BREAK)

    def receive(self, payload: bytes) -> None:
        match KbdHeader.decode(payload).type:
            case KbdMessage.PROTOCOL_REQUEST:
                self._agree(ProtocolRequest.decode(payload).version)
            case KbdMessage.LED_INDICATORS:
                self.leds = LedIndicators.decode(payload).leds
                self._led_updates += 1
            case other:
                raise PeerError(f"keyboard: message {other} from the guest")

    def _agree(self, version: int) -> None:
        self.ready = version == VERSION
        self.post(ProtocolResponse(KbdMessage.PROTOCOL_RESPONSE, ACCEPTED if self.ready else 0).encode())
        if not self.ready:
            self._typing.stop()
            raise PeerError(f"keyboard: version {version:#x} from the guest, this host has {VERSION:#x}")
        self._typing.start()

    def _type_next(self) -> None:
        self.press(key_for(IDLE_TEXT[self._typed % len(IDLE_TEXT)])[0])
        self._typed += 1
