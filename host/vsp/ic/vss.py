"""Backup: freeze the guest's file systems, take a picture of its disks, thaw (``hv_vss_onchannelcallback``)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Services, Timer
from host.vsp.ic.component import Component
from host.vsp.ic.offers import ic_offer
from host.vsp.kind import Answered
from host.vsp.periodic import Periodic
from protocol.errors import OperatorError, PeerError
from protocol.wire.guids import HV_VSS_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcStatus, IcVersion
from protocol.wire.vss import VssMessage, VssOperation

VERSIONS: Final = (IcVersion(1, 0), IcVersion(4, 0), IcVersion(5, 0))
INSTANCE: Final = UUID("29651620-0811-46a2-a3fd-43d2c3bc1c5b")
"""Linux does not look at it."""


class Vss(Component):
    """Silent after negotiation until somebody wants a backup.

    ``every``: seconds between backups that begin by themselves; 0: none. Linux agrees to 5.0 alone.
    """

    def __init__(self, services: Services, every: float = 0.0) -> None:
        super().__init__(services, ic_offer(HV_VSS_GUID, INSTANCE), IcMessage.VSS, VERSIONS)
        self._starting = Periodic(services, every, self._start)
        self._answered: Answered | None = None
        self._operation = VssOperation.HOT_BACKUP
        self._frozen_for = 0.0
        self._failure = 0
        self._timer: Timer | None = None
        self.backups = 0
        """Cycles in which every step succeeded."""

    def backup(self, answered: Answered, frozen_for: float = 0.0) -> None:
        """Is it possible (HOT_BACKUP)? FREEZE; wait ``frozen_for`` seconds; THAW.

        The answer is OK or the first ``IcStatus`` that was not; None if the channel was closed. Raises OperatorError.
        """
        if self.version is None:
            raise OperatorError("the guest has not negotiated backups: is its hv_utils driver loaded?")
        if self._answered:
            raise OperatorError("a backup is in progress: wait for its end")
        self._answered, self._frozen_for, self._failure = answered, frozen_for, 0
        self._ask(VssOperation.HOT_BACKUP)

    def on_agreed(self) -> None:
        self._starting.start()

    def on_answer(self, frame: IcFrame) -> None:
        if not self._answered:
            raise PeerError("vss: an answer that nobody waits for")
        self._failure = self._failure or frame.status
        match self._operation:
            case VssOperation.HOT_BACKUP if not frame.status:
                self._ask(VssOperation.FREEZE)
            case VssOperation.FREEZE:
                # Also after a failure: some file systems may be frozen.
                self._timer = self._services.call_later(self._frozen_for, lambda: self._ask(VssOperation.THAW))
            case _:
                self.backups += not self._failure
                self._finish(self._failure or IcStatus.OK)

    def on_close(self) -> None:
        self._starting.stop()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._finish(None)

    def _ask(self, operation: VssOperation) -> None:
        self._operation = operation
        if not self.request(VssMessage(operation).encode()):
            self._finish(IcStatus.FAIL)

    def _finish(self, status: int | None) -> None:
        answered, self._answered = self._answered, None
        if answered:
            answered(status)

    def _start(self) -> None:
        if not self._answered:
            self.backup(lambda _: None)
