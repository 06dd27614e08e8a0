"""Guest shutdown: asks the guest to power off, restart or hibernate (``shutdown_onchannelcallback``)."""

from collections.abc import Callable
from enum import IntFlag
from typing import Final
from uuid import UUID

from host.vsp.device import Services
from host.vsp.ic.component import Component
from host.vsp.ic.offers import ic_offer
from protocol.errors import OperatorError
from protocol.wire import ic
from protocol.wire.guids import HV_SHUTDOWN_GUID

VERSIONS: Final = (ic.IcVersion(1, 0), ic.IcVersion(3, 0), ic.IcVersion(3, 1), ic.IcVersion(3, 2))
INSTANCE: Final = UUID("b6650ff7-33bc-4840-8048-e0676786f393")
REASON_PLANNED: Final = 0x8000_0000
"""``SHTDN_REASON_FLAG_PLANNED`` of the Windows SDK."""


class ShutdownFlags(IntFlag):
    """What to do; without RESTART and HIBERNATE, power off. Linux does the same with and without FORCE."""

    FORCE = 1
    RESTART = 2
    HIBERNATE = 4
    """Version 3.1 or later."""


Answered = Callable[[int | None], None]
"""Receives the guest's ``IcStatus``, or None if the channel was closed without an answer."""


class Shutdown(Component):
    """Silent after negotiation until somebody calls ``request_shutdown``."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, ic_offer(HV_SHUTDOWN_GUID, INSTANCE), ic.IcMessage.SHUTDOWN, VERSIONS)
        self._answered: Answered | None = None

    def request_shutdown(
        self,
        answered: Answered,
        flags: ShutdownFlags = ShutdownFlags.FORCE,
        reason: int = REASON_PLANNED,
        timeout_seconds: int = 0,
    ) -> None:
        """Send the request; ``answered`` is called once. Linux answers first and acts afterwards.

        Raises OperatorError if the guest is not ready for it or has another one in hand.
        """
        if self.version is None:
            raise OperatorError("the guest has not negotiated the shutdown service: is its hv_utils driver loaded?")
        if self._answered:
            raise OperatorError("a shutdown is in progress: wait for the guest's answer")
        if ShutdownFlags.HIBERNATE in flags and self.version < (3, 1):
            raise OperatorError("the guest's shutdown service is too old to hibernate: shut it down instead")
        if not self.request(ic.Shutdown(reason, timeout_seconds, flags).encode()):
            raise OperatorError("the guest does not read its shutdown channel: stop the VM instead")
        self._answered = answered

    def on_answer(self, frame: ic.IcFrame) -> None:
        self._report(frame.status)

    def on_close(self) -> None:
        self._report(None)

    def _report(self, status: int | None) -> None:
        answered, self._answered = self._answered, None
        if answered:
            answered(status)
