"""The soft lockup detector of modules from outside the tree (kernel/watchdog.c, with a signal for its timer)."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from guest.kernel.oops import SoftLockup

STUCK_SECONDS: Final = 1.0
"""Linux waits twice ``watchdog_thresh``, 20 s. This has to come before the watchdog calls other channels stranded."""
TICK_SECONDS: Final = 0.1


class SoftLockups:
    """The timer of a process, for the CPU that runs in it; or in the simulation, for the CPU that has its turn.

    SIGALRM is handled between two bytecodes of whatever runs, an endless loop or a ``time.sleep`` included. If a CPU
    has been busy too long, the innermost function of a module gets ``SoftLockup``: at once, or if it has called into
    the kernel, which must not be left in the middle, at its next line.
    """

    def __init__(self, modules: frozenset[str], here: Callable[[], int]) -> None:
        self._modules = modules
        self._here = here
        self._since: dict[int, list[float]] = {}
        self._before: Any = None

    def start(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def of(self, cpu: int) -> CpuLockups:
        """The detector of one CPU."""
        return CpuLockups(self._since.setdefault(cpu, []))

    def _tick(self, number: int, frame: FrameType | None) -> None:
        since = self._since.get(self._here())
        if not since or time.monotonic() - since[-1] < STUCK_SECONDS:
            return
        innermost = frame
        while frame is not None and frame.f_globals.get("__name__") not in self._modules:
            frame = frame.f_back
        if frame is None:
            return
        since[-1] = time.monotonic()
        if frame is innermost:
            raise self._lockup()
        frame.f_trace = self._next_line
        sys.settrace(lambda frame, event, argument: None)  # or nobody would look at f_trace

    def _next_line(self, frame: FrameType, event: str, argument: object) -> None:
        frame.f_trace = None
        sys.settrace(None)
        if event == "line":
            raise self._lockup()

    def _lockup(self) -> SoftLockup:
        return SoftLockup(f"CPU {self._here()} was stuck for {STUCK_SECONDS:g} s")


class CpuLockups:
    """A ``LockupDetector``. What is entered while something else is under way, as an interrupt, has its own time."""

    __slots__ = ("_since",)

    def __init__(self, since: list[float]) -> None:
        self._since = since

    def enter(self) -> None:
        self._since.append(time.monotonic())

    def leave(self) -> None:
        self._since.pop()
