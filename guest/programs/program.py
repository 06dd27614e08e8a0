"""What programs have in common: how far they are, and how they end, as words that any process can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from guest.block.disk import BlockError
from guest.kernel.core import Core
from guest.kernel.memory import Struct, Table, Text, Word
from guest.kernel.pages import OutOfPages
from guest.kernel.wait import WaitWords
from protocol.errors import OperatorError
from protocol.ids import Cpu

FIRST_CPU: Final = Cpu(0)
ERROR_SIZE: Final = 240


class ProgramWords(WaitWords):
    """The wait queue is woken when a task ends, when the program ends, and at every step that others wait for.

    The results of a run stay until the next one starts.
    """

    run = Word("first CPU")
    """How often it has been started. Stored when everything else is that of a new run."""
    total = Word("first CPU")
    """How much there is to do, in bytes unless the program says otherwise; 0 until it is started."""
    failed = Word("program lock")
    refused = Word("program lock")
    """It failed because some CPU would not start it: nothing was tried, so it says nothing about a device."""
    error = Text(ERROR_SIZE, "program lock")
    finished = Word("first CPU")
    """Stored last."""


class ProgramCpuWords(Struct):
    """One CPU's part."""

    run = Word("this CPU")
    """How often it has been started here."""
    tasks = Word("this CPU")
    """Tasks of the program that have not ended."""


class Program(ABC):
    """One CPU's part of a program. Made on every CPU at the same place of start-up, started on each, in any order.

    It may be started again when it has finished.
    """

    def __init__(self, core: Core, words: ProgramWords, cpus: Table[Any]) -> None:
        self.core = core
        self.ended: Callable[[], None] = lambda: None
        """Called on the first CPU at the end of each run."""
        self.changed = core.wait_queue(words)
        self._words = words
        self._cpus: Table[ProgramCpuWords] = cpus
        self._lock = core.locks.spin("program", words.base)

    @property
    def on_first_cpu(self) -> bool:
        """Here runs the one task that outlives the others."""
        return self.core.cpu == FIRST_CPU

    @property
    def finished(self) -> bool:
        """Nothing of it runs any more, on any CPU."""
        return bool(self._words.finished)

    @property
    def error(self) -> str | None:
        """Why it failed, one line."""
        return self._words.error if self._words.failed else None

    @abstractmethod
    def start(self, *args: Any, **arguments: Any) -> None:
        """Start this CPU's part, within ``starting``. Raises OperatorError."""

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Around all that a program does to start on this CPU: its words are zero, and what it refuses is its end.

        Tasks do not run, on any CPU, before the first CPU has come to the end of it.

        Raises OperatorError if the last run goes on.
        """
        words, own = self._words, self._cpus[self.core.cpu]
        run = own.run + 1
        # In this order: the first CPU may be clearing them just now.
        if not words.finished and words.run == own.run and run > 1:
            raise OperatorError("the program still runs on this VM: stop it or wait for its end")
        own.clear()
        own.run = run
        if self.on_first_cpu:
            words.run = 0  # before the others: a copy stores its words in no order
            words.clear(WaitWords.size)
        try:
            yield
        except OperatorError as error:
            self.fail(str(error))
            with self._lock:
                words.refused = 1
            if self.on_first_cpu:
                self.spawn(self._end_when_alone(), "refused")
            raise
        finally:
            if self.on_first_cpu:
                words.run = run
                self.changed.wake_up()

    async def _end_when_alone(self) -> None:
        await self.alone()
        self.end()

    def stop(self) -> None:
        """End before the end; may be asked for on any CPU."""
        self.fail("it was stopped before its end")

    def fail(self, reason: str) -> None:
        """The first reason counts. The program ends as soon as its tasks have seen it."""
        with self._lock:
            if not self._words.failed:
                self._words.error = reason
                self._words.failed = 1
        self.changed.wake_up()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task of this CPU. What a program must expect to go wrong fails the program and not the kernel."""
        self._cpus[self.core.cpu].tasks += 1
        self.core.sched.spawn(self._guard(work), name)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        words, own = self._words, self._cpus[self.core.cpu]
        if words.run != own.run:
            await self.changed.wait_event(lambda: words.run == own.run)
        try:
            await work
        except (BlockError, OutOfPages) as error:
            self.fail(str(error))
        own.tasks -= 1
        self.changed.wake_up()

    async def alone(self) -> None:
        """For the one task that outlives the others: return when they have ended, on every CPU."""
        await self.changed.wait_event(self.is_alone)

    def is_alone(self) -> bool:
        """One task is left, and none is still to be started."""
        run = self._words.run
        return all(cpu.run == run for cpu in self._cpus) and sum(cpu.tasks for cpu in self._cpus) == 1

    def end(self) -> None:
        """The program has ended: its results are in its words."""
        self.ended()
        self._words.finished = 1
        self.changed.wake_up()
