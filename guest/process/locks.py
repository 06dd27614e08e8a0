"""Spin locks of the real processes: semaphores made before the fork and inherited by it (0.14 us a pair).

A semaphore here is unfair, so latency tails say nothing about Linux; it is correct, and a full fence.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable

from guest.kernel.locks import Locks, RawLock


class InheritedLocks:
    """The lock bank of one VM: every lock of every family, made by the supervisor. Names of no family are refused."""

    def __init__(self, families: Iterable[str]) -> None:
        context = multiprocessing.get_context("fork")
        self._locks: dict[str, RawLock] = {
            f"{family}/{way}": context.Lock() for family in families for way in range(Locks.WAYS)
        }

    def raw(self, name: str) -> RawLock:
        return self._locks[name]
