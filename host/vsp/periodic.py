"""A period without drift, and how an operator asks for one."""

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import Field
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.device import Services, Timer

UNITS_PER_SECOND: Final = 10_000_000
"""Reference time counts in 100 ns."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Repeated:
    """``every``: seconds between what the device begins by itself, unasked; 0: nothing."""

    every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Periodic:
    """Calls ``fn`` at start + 1, 2, 3 ... periods of ``seconds``; 0: never.

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
        """Begin, anew if it has begun; the first call is one period away."""
        self.stop()
        if self._period:
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
