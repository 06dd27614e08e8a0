"""Heartbeat: every two seconds the guest is asked whether it lives (``heartbeat_onchannelcallback``)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Services
from host.vsp.ic.component import Component
from host.vsp.ic.offers import ic_offer
from host.vsp.periodic import Periodic
from protocol.errors import PeerError
from protocol.wire import ic
from protocol.wire.guids import HV_HEART_BEAT_GUID

VERSIONS: Final = (ic.IcVersion(1, 0), ic.IcVersion(3, 0))
PERIOD: Final = 2.0
"""Seconds; the interrupt counts in the RFC's cover letter agree with it to 0.3 %."""
INSTANCE: Final = UUID("fd149e91-82e0-4a7d-afa6-2a4166cbd7c0")
"""Linux does not look at it."""


class Heartbeat(Component):
    """Sends a sequence number, expects it back plus one, and counts in ``tally``.

    The first goes out as soon as versions are agreed. ``time_scale`` divides the period.
    """

    def __init__(self, services: Services, time_scale: float = 1.0) -> None:
        super().__init__(services, ic_offer(HV_HEART_BEAT_GUID, INSTANCE), ic.IcMessage.HEARTBEAT, VERSIONS)
        self._beats = Periodic(services, PERIOD / time_scale, self._beat)
        self._sequence = 0

    def on_agreed(self) -> None:
        self._beats.start()
        self._beat()

    def on_answer(self, frame: ic.IcFrame) -> None:
        answer = ic.Heartbeat.decode(frame.body)
        if answer.sequence != self._sequence + 1:
            raise PeerError(f"heartbeat: {self._sequence} answered with {answer.sequence}, must be one more")

    def on_close(self) -> None:
        self._beats.stop()

    def _beat(self) -> None:
        if self.request(ic.Heartbeat(self._sequence + 1).encode()):
            self._sequence += 1
