"""Time as the kernel of a CPU is given it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A timer that can be stopped."""

    def cancel(self) -> object: ...


class Clock(Protocol):
    """Time as an input of the core."""

    def now(self) -> int:
        """Reference time in units of 100 ns since the VM was created (``TIME_REF_COUNT``)."""

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Call ``then`` once from the shell's loop."""
