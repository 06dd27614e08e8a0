"""The host's end of the synthetic mouse: an absolute pointer (OpenVMM uidevices; the guest is hid-hyperv.c)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Offer, Services
from host.vsp.ic.offers import MESSAGE_PIPE
from host.vsp.periodic import Periodic
from host.vsp.single_channel import SingleChannel
from protocol.errors import OperatorError, PeerError
from protocol.wire.guids import HV_MOUSE_GUID
from protocol.wire.offers import ChannelFlags
from protocol.wire.synthhid import (
    MAX_AXIS,
    REPORT_DESCRIPTOR,
    VERSION,
    Button,
    DeviceInfo,
    DeviceInfoAck,
    HidMessage,
    MouseReport,
    ProtocolRequest,
    ProtocolResponse,
    message,
    parse,
)

INSTANCE: Final = UUID("58f75a6d-d949-4320-99e1-a2a2576d581c")
STEP: Final = 331
"""How far the pointer goes at a time if it moves by itself: no divisor of the screen, so it comes everywhere."""


class Mouse(SingleChannel):
    """Silent until somebody moves it. ``every``: seconds between moves that it makes by itself; 0: none.

    The description of the device follows the accepted version at once; reports flow once the guest has confirmed it.
    """

    name = "mouse"

    def __init__(self, services: Services, every: float = 0.0) -> None:
        flags = ChannelFlags.ENUMERATE_DEVICE_INTERFACE | ChannelFlags.NAMED_PIPE_MODE
        super().__init__(services, Offer(HV_MOUSE_GUID, INSTANCE, flags, MESSAGE_PIPE))
        self.ready = False
        self._described = False
        self._x = self._y = 0
        self._reports = self._dropped = 0
        self._moving = Periodic(services, every, self._move_on)

    def counts(self) -> dict[str, int]:
        return {"reports": self._reports, "dropped": self._dropped}

    def reset(self) -> None:
        self.ready = self._described = False
        self._moving.stop()

    def move(self, x: int, y: int, buttons: Button = Button.NONE, wheel: int = 0) -> None:
        """Point somewhere, 0 to MAX_AXIS each way. Raises OperatorError if the guest has no mouse driver."""
        if not self.ready:
            raise OperatorError("the guest has no mouse: is its hid_hyperv driver loaded?")
        if not (0 <= x <= MAX_AXIS and 0 <= y <= MAX_AXIS):
            raise OperatorError(f"({x}, {y}) is not on the screen: 0 to {MAX_AXIS} each way")
        self._x, self._y = x, y
        if self.congested:
            self._dropped += 1
            return
        self._reports += 1
        self.post(message(HidMessage.INPUT_REPORT, MouseReport(buttons, x, y, wheel & 0xFFFF).encode()))

    def click(self, button: Button = Button.LEFT) -> None:
        """Press a button where the pointer is, and let it go."""
        self.move(self._x, self._y, button)
        self.move(self._x, self._y)

    def receive(self, payload: bytes) -> None:
        header, body = parse(payload)
        match header.type:
            case HidMessage.PROTOCOL_REQUEST:
                self._agree(ProtocolRequest.decode(body).version)
            case HidMessage.INITIAL_DEVICE_INFO_ACK if self._described:
                DeviceInfoAck.decode(body)
                self.ready = True
                self._moving.start()
            case other:
                raise PeerError(f"mouse: message {other} from the guest, which is out of order")

    def _agree(self, version: int) -> None:
        self._described = version == VERSION
        self.post(message(HidMessage.PROTOCOL_RESPONSE, ProtocolResponse(version, self._described).encode()))
        if not self._described:
            raise PeerError(f"mouse: version {version:#x} from the guest, this host has {VERSION:#x}")
        info = DeviceInfo(report_length=len(REPORT_DESCRIPTOR)).encode() + REPORT_DESCRIPTOR
        self.post(message(HidMessage.INITIAL_DEVICE_INFO, info))

    def _move_on(self) -> None:
        self.move((self._x + STEP) % (MAX_AXIS + 1), (self._y + 2 * STEP) % (MAX_AXIS + 1))
