"""``struct percpu_rw_semaphore``: many readers or one writer, suspended while they wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guest.kernel.locks import IrqSpinLock
from guest.kernel.memory import Word
from guest.kernel.wait import Waiting, WaitQueue, WaitWords


class RwSemaphoreWords(WaitWords):
    """``writer`` is 0 or the CPU + 1 of the writer that waits or has it."""

    readers = Word("wait lock")
    writer = Word("wait lock")


class RwSemaphore:
    """One CPU's view. A writer that waits keeps new readers out, so readers cannot starve it."""

    __slots__ = ("_core", "_lock", "_queue", "_words")

    def __init__(self, words: RwSemaphoreWords, lock: IrqSpinLock, core: Waiting) -> None:
        self._words = words
        self._lock = lock
        self._core = core
        self._queue = WaitQueue(words, lock, core)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """``percpu_down_read`` to ``percpu_up_read``."""
        await self._queue.wait_event(self._try_read)
        try:
            yield
        finally:
            with self._lock:
                self._words.readers -= 1
            self._queue.wake_up()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """``percpu_down_write`` to ``percpu_up_write``."""
        await self._queue.wait_event(self._try_write)
        await self._queue.wait_event(lambda: self._words.readers == 0)
        try:
            yield
        finally:
            self._words.writer = 0
            self._queue.wake_up()

    def _try_read(self) -> bool:
        with self._lock:
            if self._words.writer:
                return False
            self._words.readers += 1
            return True

    def _try_write(self) -> bool:
        with self._lock:
            if self._words.writer:
                return False
            self._words.writer = self._core.cpu + 1
            return True
