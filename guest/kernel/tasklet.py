"""Tasklets: deferred work in softirq context that runs on the CPU that scheduled it, on one CPU at a time.

The SCHED and RUN bits of ``struct tasklet_struct`` are shared words, because the interrupt of a channel may come to two
CPUs while it is being moved; the list of what this CPU has to run is its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from guest.kernel.locks import IrqSpinLock
from guest.kernel.memory import Struct, Word
from guest.kernel.softirq import Softirq


class TaskletWords(Struct):
    """``struct tasklet_struct``: state bits and the disable count."""

    scheduled = Word("tasklet lock")
    running = Word("tasklet lock")
    disabled = Word("tasklet lock")


class Tasklet:
    """One CPU's view of a tasklet."""

    __slots__ = ("_function", "_lock", "_queue", "words")

    def __init__(
        self, words: TaskletWords, lock: IrqSpinLock, function: Callable[[], None], queue: deque[Softirq]
    ) -> None:
        self.words = words
        self._lock = lock
        self._function = function
        self._queue = queue

    def schedule(self) -> None:
        """``tasklet_schedule``: run once more, soon; scheduling twice before it runs is scheduling once."""
        words = self.words
        with self._lock:
            if words.scheduled:
                return
            words.scheduled = 1
        self._queue.append(self)

    def run(self) -> bool:
        """Run it now (``tasklet_action``). False: it runs on another CPU or is disabled, and stays queued."""
        words = self.words
        with self._lock:
            if words.running or words.disabled:
                self._queue.append(self)
                return False
            words.running = 1
            words.scheduled = 0
        self._function()
        with self._lock:
            words.running = 0
        return True

    def disable(self) -> None:
        """``tasklet_disable_nosync``; wait until ``idle`` for the synchronous form."""
        with self._lock:
            self.words.disabled += 1

    def enable(self) -> None:
        with self._lock:
            self.words.disabled -= 1

    @property
    def idle(self) -> bool:
        """No CPU is inside the function now."""
        return not self.words.running
