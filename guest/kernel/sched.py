"""Process context: tasks are coroutines over our own few awaitables, so that a simulation can drive them too.

One scheduler per CPU. A task runs until it parks; whoever makes its condition true wakes it. No asyncio here: the shell
calls ``run_one`` while there is something to run.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Coroutine, Generator
from typing import Any

from guest.kernel.locks import Held
from guest.kernel.oops import MISTAKES, Oops


@types.coroutine
def park() -> Generator[None, None, None]:
    """Suspend the current task until somebody wakes it. Wake-ups may be spurious: check the condition again."""
    yield


class Task:
    """One thread of the guest kernel on one CPU. ``failure`` is what ended it, if anything did."""

    __slots__ = ("_coroutine", "_queued", "_scheduler", "failure", "finished", "name")

    def __init__(self, scheduler: Scheduler, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self._scheduler = scheduler
        self._coroutine = coroutine
        self._queued = False
        self.name = name
        self.finished = False
        self.failure: BaseException | None = None

    def wake(self) -> None:
        """Put the task on the run queue, once."""
        if not self._queued and not self.finished:
            self._queued = True
            self._scheduler.ready.append(self)

    def step(self) -> None:
        self._queued = False
        if self.finished:  # woken while it was running for the last time
            return
        try:
            if self._coroutine.send(None) is not None:
                self._coroutine.throw(RuntimeError("nobody in the guest can wake who waits for this"))
        except StopIteration:
            self._end()
        except MISTAKES as error:
            self._end()
            self.failure = error
            self._scheduler.failed(self, error)

    def close(self) -> None:
        """End it where it is parked."""
        self._end()
        self._coroutine.close()

    def _end(self) -> None:
        self.finished = True
        del self._scheduler.tasks[self]


class Scheduler:
    """The run queue of one CPU. ``tasks`` are all that have not ended, oldest first."""

    __slots__ = ("_held", "_oops", "current", "ready", "tasks")

    def __init__(self, held: Held, oops: Oops) -> None:
        self.tasks: dict[Task, None] = {}
        self.ready: deque[Task] = deque()
        self.current: Task | None = None
        self._held = held
        self._oops = oops

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Task:
        """Start a task; it first runs when the CPU comes round to it."""
        task = Task(self, coroutine, name)
        self.tasks[task] = None
        task.wake()
        return task

    def run_one(self) -> None:
        """Run the next ready task until it parks."""
        task = self.ready.popleft()
        self.current = task
        lockups = self._oops.lockups
        if lockups is None:
            task.step()
        else:
            lockups.enter()
            try:
                task.step()
            finally:
                lockups.leave()
        self.current = None
        assert not self._held.count, f"{task.name} parked while holding a spin lock"

    def close(self) -> None:
        """The machine is taken apart: no task of this CPU ever goes on."""
        for task in list(self.tasks):
            task.close()

    def failed(self, task: Task, error: BaseException) -> None:
        """An exception ends a task. If no module raised it, it is a bug of the kernel: nothing may go on after it."""
        if self._oops.contain(error, f"task {task.name}"):
            return
        raise RuntimeError(f"kernel task {task.name} failed: {error!r}") from error

    async def pause(self) -> None:
        """``cond_resched()``: let the other tasks and the interrupts of this CPU run."""
        self.might_sleep().wake()
        await park()

    def might_sleep(self) -> Task:
        """``might_sleep()``: the task that runs, which is about to wait, though perhaps not for long."""
        task = self.current
        assert task is not None, "only a task can wait"
        assert not self._held.count, f"{task.name} may sleep while holding a spin lock"
        return task
