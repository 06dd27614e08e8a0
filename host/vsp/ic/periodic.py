"""A period without drift."""

from collections.abc import Callable
from typing import Final

from host.vsp.device import Services, Timer

UNITS_PER_SECOND: Final = 10_000_000
"""Reference time counts in 100 ns."""


class Periodic:
    """Calls ``fn`` at start + 1, 2, 3 ... periods of ``seconds``.

    Deadlines are absolute, so a late call does not put off the next; those that have passed meanwhile are left out
    and not caught up with.
    """

    def __init__(self, services: Services, seconds: float, fn: Callable[[], None]) -> None:
        self._services = services
        self._period = round(seconds * UNITS_PER_SECOND)
        self._fn = fn
        self._deadline = 0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin; the first call is one period away."""
        self._deadline = self._services.now()
        self._arm()

    def stop(self) -> None:
        """Call no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        now = self._services.now()
        self._deadline += self._period * max(1, (now - self._deadline) // self._period + 1)
        self._timer = self._services.call_later((self._deadline - now) / UNITS_PER_SECOND, self._ring)

    def _ring(self) -> None:
        self._arm()
        self._fn()
