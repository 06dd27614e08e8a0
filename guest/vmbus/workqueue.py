"""Ordered work queues (``create_singlethread_workqueue``): one item at a time, in the order of queueing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from guest.kernel.core import Core
from guest.kernel.sched import park

Work = Callable[[], Coroutine[Any, Any, None]]


class WorkQueue:
    """The queue and its worker are the CPU's own; all VMBus work is queued and done on the connect CPU."""

    def __init__(self, core: Core, name: str) -> None:
        self._core = core
        self._name = name
        self._items: deque[Work] = deque()
        self._busy = False

    def queue(self, work: Work) -> None:
        """``queue_work``: from any context of this CPU."""
        self._items.append(work)
        if not self._busy:
            self._busy = True
            self._core.sched.spawn(self._drain(), self._name)

    async def flush(self) -> None:
        """``flush_workqueue``: return when everything queued so far has been done."""
        task = self._core.sched.current
        assert task is not None, "only a task can wait"
        done = False

        async def last() -> None:
            nonlocal done
            done = True
            task.wake()

        self.queue(last)
        while not done:
            await park()

    async def _drain(self) -> None:
        while self._items:
            await self._items.popleft()()
        self._busy = False
