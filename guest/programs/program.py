"""What programs have in common: how far they are, and how they end, as words that any process can read."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from guest.block.disk import BlockError
from guest.kernel.core import Core
from guest.kernel.memory import Struct, Table, Text, Word
from guest.kernel.pages import OutOfPages
from guest.kernel.wait import WaitWords

ERROR_SIZE: Final = 240


class ProgramWords(WaitWords):
    """The wait queue is woken when a task ends, when the program ends, and at every step that others wait for."""

    total = Word("first CPU")
    """Bytes that there are to do; 0 until it is started."""
    failed = Word("program lock")
    error = Text(ERROR_SIZE, "program lock")
    finished = Word("first CPU")
    """Stored last."""


class ProgramCpuWords(Struct):
    """One CPU's part."""

    tasks = Word("this CPU")
    """Tasks of the program that have not ended."""


class Program:
    """One CPU's part of a program. Made on every CPU at the same place of start-up, started on each, runs once."""

    def __init__(self, core: Core, words: ProgramWords, cpus: Table[Any]) -> None:
        self.core = core
        self.changed = core.wait_queue(words)
        self._words = words
        self._cpus: Table[ProgramCpuWords] = cpus
        self._lock = core.locks.spin("program", words.base)

    @property
    def finished(self) -> bool:
        """Nothing of it runs any more, on any CPU."""
        return bool(self._words.finished)

    @property
    def error(self) -> str | None:
        """Why it failed, one line."""
        return self._words.error if self._words.failed else None

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
        try:
            await work
        except (BlockError, OutOfPages) as error:
            self.fail(str(error))
        self._cpus[self.core.cpu].tasks -= 1
        self.changed.wake_up()

    async def alone(self) -> None:
        """For the one task that outlives the others: return when they have ended, on every CPU."""
        await self.changed.wait_event(lambda: sum(cpu.tasks for cpu in self._cpus) == 1)

    def end(self) -> None:
        """The program has ended: its results are in its words."""
        self._words.finished = 1
        self.changed.wake_up()
