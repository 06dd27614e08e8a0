"""NAPI: packets are taken by polling in softirq context, with the device's interrupts off meanwhile (net/core/dev.c).

The state bits of ``struct napi_struct`` are shared words, because an interrupt may come to another CPU than the one
that polls. Whoever sets ``scheduled`` owns the instance and polls it on its own CPU until it gives it up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Word

NAPI_POLL_WEIGHT: Final = 64
DISABLE_LOOK: Final = 20e-6
"""Seconds between two looks of ``napi_disable``."""


class NapiWords(Struct):
    """``napi_struct.state``; all zero is what ``netif_napi_add`` leaves: not enabled."""

    enabled = Word("napi lock")
    scheduled = Word("napi lock")
    """NAPI_STATE_SCHED."""
    missed = Word("napi lock")
    """NAPI_STATE_MISSED: somebody wanted it to run while it was owned, so its owner polls once more."""
    polling = Word("napi lock")
    """CPUs that are inside its poll: one may have given it up and not returned yet when the next begins."""


class Napi:
    """One CPU's view of an instance.

    ``poll(budget)`` takes up to that many packets and returns how many. If there were fewer it must have called
    ``complete_done``; otherwise it is called again, after the other softirqs and a turn of this CPU's tasks.

    Simplified: no ``netdev_budget`` over all instances of a CPU, no busy polling, no threads.
    """

    __slots__ = ("_core", "_lock", "_poll", "words")

    def __init__(self, core: Core, words: NapiWords, poll: Callable[[int], int]) -> None:
        self.words = words
        self._core = core
        self._lock = core.locks.irqsave("napi", words.base)
        self._poll = poll

    def schedule_prep(self) -> bool:
        """``napi_schedule_prep``. True: this CPU owns it now and must ``schedule``. From any context of any CPU."""
        words = self.words
        with self._lock:
            if not words.enabled:
                return False
            if words.scheduled:
                words.missed = 1
                return False
            words.scheduled = 1
            return True

    def schedule(self) -> None:
        """``__napi_schedule``: poll soon, on this CPU."""
        self._core.softirqs.append(self)

    def complete_done(self) -> bool:
        """``napi_complete_done``, from ``poll``. False: a run was missed, so it stays owned and is polled again."""
        words = self.words
        with self._lock:
            again = words.missed and words.enabled
            words.missed = 0
            if not again:
                words.scheduled = 0
        if again:
            self.schedule()
        return not again

    def run(self) -> bool:
        """``napi_poll``."""
        with self._lock:
            self.words.polling += 1
        taken = self._poll(NAPI_POLL_WEIGHT)
        with self._lock:
            self.words.polling -= 1
        if taken < NAPI_POLL_WEIGHT:
            return True
        if self.words.enabled:
            self.schedule()
        else:
            self.complete_done()
        return True

    def enable(self) -> None:
        """``napi_enable``."""
        with self._lock:
            self.words.enabled = 1

    async def disable(self) -> None:
        """``napi_disable``, and ``netif_napi_del`` with its grace period (``synchronize_net``).

        Returns when no CPU is inside its poll, and none will be: its ring may be unmapped.
        """
        with self._lock:
            self.words.enabled = 0
        while self.words.scheduled or self.words.polling:
            await self._core.sleep(DISABLE_LOOK)
