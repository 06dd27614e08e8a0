"""Stopping the sources: while the host is quiet, timers that expire wait. What is under way goes on to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from host.vsp.device import Timer
from protocol.errors import OperatorError, PeerError
from protocol.journal import Journal


class Time(Protocol):
    """What a shell provides: time and timers."""

    def now(self) -> int:
        """The partition's reference time: 100 ns units since the VM started."""

    def wall_clock(self) -> int:
        """UTC in 100 ns units since 1601-01-01."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        """Call ``fn`` once, ``seconds`` from now."""


class HeldTimer:
    """A timer whose expiry may be held back."""

    def __init__(self) -> None:
        self.cancelled = False
        self.timer: Timer | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if self.timer is not None:
            self.timer.cancel()


class QuietServices:
    """``Services`` of the devices, which an operator can stop for a consistent cut."""

    def __init__(
        self, time: Time, complain: Callable[[PeerError | OperatorError], None], journal: Journal | None = None
    ) -> None:
        self._time = time
        self.complain = complain
        self.journal = journal
        self._held: list[Callable[[], None]] | None = None

    def now(self) -> int:
        return self._time.now()

    def wall_clock(self) -> int:
        return self._time.wall_clock()

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        held = HeldTimer()

        def expire() -> None:
            if self._held is None:
                self._call(fn)
            else:
                self._held.append(lambda: None if held.cancelled else self._call(fn))

        held.timer = self._time.call_later(seconds, expire)
        return held

    def _call(self, fn: Callable[[], None]) -> None:
        try:
            fn()
        except (PeerError, OperatorError) as error:
            self.complain(error)

    def quiesce(self) -> None:
        """No timer of a device expires from now on."""
        if self._held is None:
            self._held = []

    def resume(self) -> None:
        """What has been held back happens now."""
        held, self._held = self._held or [], None
        for fn in held:
            fn()
