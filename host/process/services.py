"""What the host's loop gives its devices: time, timers, and a way in from other threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from host.vsp.device import Timer

UNIX_EPOCH = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601-01-01."""


class LoopServices:
    """``Services`` over an event loop. ``after`` runs when a callback has run: it sends what the callback raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: int) -> None:
        self._loop = loop
        self._epoch = epoch
        self.after: Callable[[], None] = lambda: None

    def now(self) -> int:
        return (time.monotonic_ns() - self._epoch) // 100

    def wall_clock(self) -> int:
        return UNIX_EPOCH + time.time_ns() // 100

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        return self._loop.call_later(seconds, self._enter, fn)

    def post(self, fn: Callable[[], None]) -> None:
        """Run ``fn`` in the loop, from any thread."""
        self._loop.call_soon_threadsafe(self._enter, fn)

    def _enter(self, fn: Callable[[], None]) -> None:
        fn()
        self.after()
