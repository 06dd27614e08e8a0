"""Who decides in a simulation: a seed, or the decisions of an earlier run that is to happen again.

Every decision of a run is in its journal, because one preemption point more in the code changes the meaning of every
seed. A recorded list names what was decided at which point, so it says when it no longer fits the code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from protocol.errors import OperatorError
from protocol.journal import Record

EVENT = "decision"
"""The journal's word for a decision; its fields are those of ``Decision``."""

POINT_BITS = 3
"""A seed preempts at one point in 2**POINT_BITS, and lets an interrupt in at another."""
SLOW_BITS = 6
"""After 2**SLOW_BITS choices on average, somebody else is the slow one."""


class Kind(StrEnum):
    """What was decided."""

    RUN = "run"  # this participant goes on, that envelope arrives, a timer fires
    TAKE = "take"  # whose envelope the host takes next
    PREEMPT = "preempt"  # here somebody else may go on
    INTERRUPT = "interrupt"  # here the CPU takes what is pending, on top of what runs


class Decision(NamedTuple):
    """``name`` is a participant or a preemption point; ``passed`` counts the points since the decision before."""

    kind: str
    name: str
    passed: int


class Schedule(Protocol):
    """The source of decisions."""

    def choose(self, kind: Kind, names: Sequence[str], passed: int) -> int:
        """Which of ``names``."""

    def at_point(self, name: str, passed: int, may_interrupt: Callable[[], bool]) -> Kind | None:
        """PREEMPT, INTERRUPT (only if it may), or None: nothing happens at this point."""

    def end(self) -> None:
        """The run is over."""


class SeededSchedule:
    """Decisions by chance. Only ``getrandbits`` is used, which gives the same on every machine and Python version.

    Somebody is slow: a participant, or an envelope on its way, does not go on while anything else can. Even chances
    alone hardly ever keep one CPU still while another does a hundred things, and that is where races are.
    """

    def __init__(self, seed: int) -> None:
        self._bits = random.Random(seed).getrandbits
        self._slow = ""

    def choose(self, kind: Kind, names: Sequence[str], passed: int) -> int:
        if len(names) == 1:
            return 0
        if not self._bits(SLOW_BITS):
            self._slow = names[self._bits(16) % len(names)]
        choice = self._bits(16) % len(names)
        while names[choice] == self._slow:
            choice = self._bits(16) % len(names)
        return choice

    def at_point(self, name: str, passed: int, may_interrupt: Callable[[], bool]) -> Kind | None:
        draw = self._bits(POINT_BITS)
        if draw == 0:
            return Kind.PREEMPT
        if draw == 1 and may_interrupt():
            return Kind.INTERRUPT
        return None

    def end(self) -> None:
        """Chance has no end."""


class Misfit(OperatorError):
    """The recorded decisions do not fit: the code has changed since, or the options are not those of that run."""


class RecordedSchedule:
    """The decisions of an earlier run again, one by one. Raises ``Misfit`` as soon as one is not possible."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._decisions = list(decisions)
        self._next = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> RecordedSchedule:
        """The decisions in a journal."""
        return cls(Decision(*record.fields) for record in records if record.event == EVENT)

    def choose(self, kind: Kind, names: Sequence[str], passed: int) -> int:
        wanted = self._peek()
        if (wanted.kind, wanted.passed) != (kind, passed) or wanted.name not in names:
            raise self._misfit(f"after {passed} points it was to {kind} one of {', '.join(names)}")
        self._next += 1
        return names.index(wanted.name)

    def at_point(self, name: str, passed: int, may_interrupt: Callable[[], bool]) -> Kind | None:
        if self._next == len(self._decisions):  # points passed behind the last decision were passed without one
            return None
        wanted = self._decisions[self._next]
        if wanted.kind not in (Kind.PREEMPT, Kind.INTERRUPT) or wanted.passed > passed:
            return None
        if (wanted.name, wanted.passed) != (name, passed):
            raise self._misfit(f"point {passed} is {name}")
        if wanted.kind == Kind.INTERRUPT and not may_interrupt():
            raise self._misfit(f"at point {passed}, {name}, no interrupt can be taken")
        self._next += 1
        return Kind(wanted.kind)

    def end(self) -> None:
        if self._next < len(self._decisions):
            raise self._misfit("the run is over")

    def _peek(self) -> Decision:
        if self._next == len(self._decisions):
            raise Misfit(f"the {self._next} recorded decisions are used up, and the run goes on")
        return self._decisions[self._next]

    def _misfit(self, now: str) -> Misfit:
        kind, name, passed = self._decisions[self._next]
        return Misfit(f"decision {self._next} was to {kind} {name} after {passed} points, but now {now}")
