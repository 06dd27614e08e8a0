"""Waiting for what another CPU does: wait queues, completions and mutexes whose state is in kernel memory.

A waiter announces its CPU in the queue's mask, looks at the condition again and parks; a waker makes the condition
true, takes the mask and sends each CPU in it a reschedule interrupt, which makes that CPU look at its parked tasks
again. The lock around the mask is the full fence between announce and look, and between change and take.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from guest.kernel.locks import IrqSpinLock
from guest.kernel.memory import Struct, Word
from guest.kernel.sched import Scheduler, Task, park
from protocol.ids import Cpu

if TYPE_CHECKING:
    from guest.kernel.clock import Timer


class WaitWords(Struct):
    """``wait_queue_head``: bit n set means that CPU n may have a task parked here."""

    waiters = Word("wait lock")


class CompletionWords(WaitWords):
    """``struct completion``; ``done`` is set before the waiters are woken."""

    done = Word("whoever completes")


class MutexWords(WaitWords):
    """``struct mutex``: 0 or the owner's CPU + 1."""

    owner = Word("wait lock")


class Waiting(Protocol):
    """What a wait queue needs of the CPU it is used on."""

    cpu: Cpu
    sched: Scheduler
    parked: dict[Task, None]

    def reschedule(self, cpu: Cpu) -> None:
        """Make ``cpu`` look at its parked tasks again (``smp_send_reschedule``)."""

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Run ``then`` in interrupt context of this CPU after ``seconds``."""


class WaitQueue:
    """One CPU's view of a wait queue."""

    __slots__ = ("_core", "_lock", "_words")

    def __init__(self, words: WaitWords, lock: IrqSpinLock, core: Waiting) -> None:
        self._words = words
        self._lock = lock
        self._core = core

    async def wait_event(self, condition: Callable[[], bool], *others: WaitQueue) -> None:
        """``wait_event(wq, condition)``: return when the condition holds. ``others`` may tell of it, too."""
        core = self._core
        task = core.sched.might_sleep()
        while True:
            # Parked before the condition is looked at: an interrupt taken while it is evaluated must find the task.
            core.parked[task] = None
            for queue in (self, *others):
                queue._prepare_to_wait()
            if condition():
                break
            await park()
        core.parked.pop(task, None)

    async def wait_event_timeout(self, condition: Callable[[], bool], seconds: float) -> bool:
        """``wait_event_timeout(wq, condition, timeout)``: whether the condition held in time."""
        task, late = self._core.sched.might_sleep(), False

        def expire() -> None:
            nonlocal late
            late = True
            task.wake()

        timer = self._core.call_later(seconds, expire)
        await self.wait_event(lambda: condition() or late)
        timer.cancel()
        return condition()

    def _prepare_to_wait(self) -> None:
        with self._lock:
            self._words.waiters |= 1 << self._core.cpu

    def wake_up(self) -> None:
        """``wake_up_all``: the condition has been made true before."""
        core = self._core
        with self._lock:
            mask = self._words.waiters
            self._words.waiters = 0
        while mask:
            low = mask & -mask
            mask ^= low
            core.reschedule(Cpu(low.bit_length() - 1))


class Completion:
    """``struct completion`` shared by all CPUs. ``reinit`` before the request is sent, as in the kernel."""

    __slots__ = ("_queue", "_words")

    def __init__(self, words: CompletionWords, lock: IrqSpinLock, core: Waiting) -> None:
        self._words = words
        self._queue = WaitQueue(words, lock, core)

    def reinit(self) -> None:
        self._words.done = 0

    def complete(self) -> None:
        self._words.done = 1
        self._queue.wake_up()

    async def wait(self) -> None:
        words = self._words
        await self._queue.wait_event(lambda: words.done != 0)

    async def wait_timeout(self, seconds: float) -> bool:
        """``wait_for_completion_timeout``. False: it took too long."""
        words = self._words
        return await self._queue.wait_event_timeout(lambda: words.done != 0, seconds)


class Mutex:
    """``struct mutex``: its waiter is suspended and its CPU goes on serving interrupts."""

    __slots__ = ("_core", "_lock", "_queue", "_words")

    def __init__(self, words: MutexWords, lock: IrqSpinLock, core: Waiting) -> None:
        self._words = words
        self._lock = lock
        self._core = core
        self._queue = WaitQueue(words, lock, core)

    def _try(self) -> bool:
        with self._lock:
            if self._words.owner:
                return False
            self._words.owner = self._core.cpu + 1
            return True

    async def __aenter__(self) -> None:
        await self._queue.wait_event(self._try)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._words.owner == self._core.cpu + 1, "a mutex is released by its owner"
        self._words.owner = 0
        self._queue.wake_up()
