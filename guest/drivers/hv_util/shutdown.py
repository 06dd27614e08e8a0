"""Shutdown: the host asks the guest to power off, restart or hibernate (``shutdown_onchannelcallback``)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any

from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.kernel.core import Core
from guest.kernel.memory import Word
from protocol.wire.guids import HV_SHUTDOWN_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcStatus, IcVersion, Shutdown


class PowerAction(IntEnum):
    """What is asked for; ``Shutdown.flags`` is twice this, plus 1 for "force", which Linux does not distinguish."""

    POWER_OFF = 0
    RESTART = 1
    HIBERNATE = 2


PowerHook = Callable[[PowerAction], Coroutine[Any, Any, None]]
"""``orderly_poweroff`` and its siblings: started as a task after the answer is on the ring."""


class ShutdownWords(UtilWords):
    """``answered`` counts requests, refused ones included."""

    accepted = Word("channel callback")
    action = Word("channel callback")
    """``PowerAction`` + 1 of the newest accepted request; 0: none."""


class ShutdownService(UtilService[ShutdownWords]):
    """``util_shutdown``. ``power`` is the system's hook; without one a request is accepted and nothing happens."""

    class_id = HV_SHUTDOWN_GUID
    message_type = IcMessage.SHUTDOWN
    versions = (IcVersion(3, 2), IcVersion(3, 1), IcVersion(3, 0), IcVersion(1, 0))
    words = ShutdownWords

    def __init__(self, core: Core) -> None:
        self._core = core
        self.power: PowerHook | None = None
        self.hibernation_supported = False
        """``hv_is_hibernation_supported()``: ACPI S4, which Hyper-V leaves off unless told otherwise."""

    def respond(self, words: ShutdownWords, frame: IcFrame) -> Reply:
        action = self._action(Shutdown.decode(frame.body).flags)
        if action is None:
            return Reply(frame.body, IcStatus.FAIL)
        words.accepted += 1
        words.action = action + 1
        return Reply(frame.body, then=lambda: self._schedule(action))

    def _action(self, flags: int) -> PowerAction | None:
        try:
            action = PowerAction(flags >> 1)
        except ValueError:
            return None
        return None if action is PowerAction.HIBERNATE and not self.hibernation_supported else action

    def _schedule(self, action: PowerAction) -> None:
        if self.power is not None:
            self._core.sched.spawn(self.power(action), f"hv_{action.name.lower()}")
