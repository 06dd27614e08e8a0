"""What all integration components share: a message pipe on which the host speaks first and the guest only answers.

The guest side is ``hv_util.c``: it writes its answer into the frame that it got and sends it back as a new in-band
packet, not as a completion. Nothing here waits with a time limit: Linux may take most of a minute to negotiate.
"""

from dataclasses import asdict, dataclass
from typing import Final

from host.vsp.channel_device import ChannelDevice
from host.vsp.device import Offer, Services
from protocol.errors import PeerError
from protocol.ring import Packet, PacketType
from protocol.wire.ic import NOT_NEGOTIATED, IcFlags, IcFrame, IcMessage, IcVersion, Negotiate

FRAMEWORKS: Final = (IcVersion(1, 0), IcVersion(3, 0))
"""``UTIL_FW_VERSION`` and ``UTIL_WS2K8_FW_VERSION``; OpenVMM offers both too."""


@dataclass(slots=True)
class Tally:
    """What became of the requests of one component, negotiation left out.

    ``missed``: the next request was due and there was no answer yet. ``late``: an answer to anything but the last
    request. ``skipped``: not sent, because the guest had left the ring full.
    """

    sent: int = 0
    answered: int = 0
    missed: int = 0
    late: int = 0
    skipped: int = 0


class Component(ChannelDevice):
    """A ``Device`` for one service. A subclass says what to do once versions are agreed and what an answer means.

    ``versions`` are its message versions, lowest first. With nothing in common the channel stays open and silent,
    and the operator hears of it.
    """

    def __init__(
        self, services: Services, offer: Offer, message_type: IcMessage, versions: tuple[IcVersion, ...]
    ) -> None:
        super().__init__(services, offer)
        self.tally = Tally()
        self.version: IcVersion | None = None
        """The agreed message version; None while the channel is closed or silent."""
        self._message_type = message_type
        self._versions = versions
        self._framework = NOT_NEGOTIATED
        self._transaction = 0
        self._awaited: int | None = None

    def opened(self, user_data: bytes) -> None:
        """Offer all versions that this host has."""
        self._send(IcMessage.NEGOTIATE, Negotiate(FRAMEWORKS, self._versions).encode())

    def closed(self) -> None:
        self._framework, self.version = NOT_NEGOTIATED, None
        self.on_close()

    def counts(self) -> dict[str, int]:
        """What became of its requests, and whether the guest has agreed to a version."""
        return {**asdict(self.tally), "negotiated": int(self.version is not None)}

    def on_agreed(self) -> None:
        """Versions are agreed: requests may be sent from now on."""

    def on_answer(self, frame: IcFrame) -> None:
        """The answer to the last request has come. Raises PeerError if it is none after all."""

    def on_close(self) -> None:
        """The channel is closed; it may be opened again."""

    def request(self, body: bytes) -> bool:
        """Send one request. False: the guest has left the ring full, and it would be out of date when it arrived."""
        if self._endpoint is None or self.congested:
            self.tally.skipped += 1
            return False
        if self._awaited is not None:
            self.tally.missed += 1
        self.tally.sent += 1
        self._send(self._message_type, body)
        return True

    def _send(self, message_type: IcMessage, body: bytes) -> None:
        self._transaction = self._awaited = (self._transaction + 1) % 256
        version = self.version or NOT_NEGOTIATED
        frame = IcFrame(message_type, body, self._framework, version, transaction=self._transaction)
        self.post(frame.encode())

    def _take(self, packet: Packet) -> None:
        if packet.type != PacketType.IN_BAND:
            raise PeerError(f"{self._name}: packet type {packet.type} from the guest, must be in band")
        frame = IcFrame.decode(packet.payload)
        if not frame.flags & IcFlags.RESPONSE:
            raise PeerError(f"{self._name}: the guest sent a request, it may only answer")
        expected = IcMessage.NEGOTIATE if self.version is None else self._message_type
        if frame.message_type != expected:
            raise PeerError(f"{self._name}: answer of type {frame.message_type}, {expected} was asked")
        if frame.transaction != self._awaited:
            self.tally.late += 1
            raise PeerError(f"{self._name}: answer to transaction {frame.transaction}, not {self._awaited}")
        if self.version is None:
            self._agree(frame)
        else:
            self._awaited = None
            self.on_answer(frame)
            self.tally.answered += 1

    def _agree(self, frame: IcFrame) -> None:
        choice = Negotiate.decode(frame.body)
        if not choice.frameworks and not choice.messages:
            raise PeerError(f"{self._name}: no version in common with the guest")
        match choice:
            case Negotiate((framework,), (version,)) if framework in FRAMEWORKS and version in self._versions:
                self._framework, self.version, self._awaited = framework, version, None
                self.on_agreed()
            case _:
                raise PeerError(f"{self._name}: the guest chose {choice}, which was not offered")

    @property
    def _name(self) -> str:
        return self._message_type.name.lower()
