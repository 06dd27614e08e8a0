"""Spin locks of the real processes: semaphores made before the fork and inherited by it (0.14 us a pair).

A semaphore here is unfair, so latency tails say nothing about Linux; it is correct, and a full fence.

They are unnamed, in memory that the processes share (``sem_init``), so that there is nothing to clean up whoever is
killed and when. ``multiprocessing`` makes named ones (``sem_open``): whoever is killed meanwhile leaves a file in
/dev/shm, under its own name or a temporary one of the C library, which nobody can know.
"""

from __future__ import annotations

import ctypes
import mmap
from _multiprocessing import SemLock
from collections.abc import Iterable
from typing import cast

from guest.kernel.locks import Locks, RawLock

STRIDE = 64
"""A cache line for each; ``sem_t`` has 32 bytes."""

SEMAPHORE = 1
"""The kind of ``SemLock`` that does not ask who released it."""


class _Unnamed(SemLock):  # type: ignore[misc]
    """An open lock in shared memory, which stays mapped for as long as there is the lock."""

    memory: mmap.mmap

    @classmethod
    def make(cls, memory: mmap.mmap, offset: int) -> RawLock:
        """As ``multiprocessing`` takes over, in a forked child, one that is already there."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory, offset))
        if ctypes.CDLL(None, use_errno=True).sem_init(ctypes.c_void_p(address), 1, 1):
            raise OSError(ctypes.get_errno(), "sem_init")
        lock = cls._rebuild(address, SEMAPHORE, 1, None)
        lock.memory = memory
        return cast(RawLock, lock)


class InheritedLocks:
    """The lock bank of one VM: every lock of every family, made by the supervisor. Names of no family are refused."""

    def __init__(self, families: Iterable[str]) -> None:
        names = [f"{family}/{way}" for family in families for way in range(Locks.WAYS)]
        memory = mmap.mmap(-1, len(names) * STRIDE)
        self._locks = {name: _Unnamed.make(memory, number * STRIDE) for number, name in enumerate(names)}

    def raw(self, name: str) -> RawLock:
        return self._locks[name]
