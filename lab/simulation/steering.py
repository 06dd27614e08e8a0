"""A simulation along the course of a real run: who is next goes first, and what came from outside comes at its place.

It never gives up: where the orders part, the record that does not come is left behind after a while, and the rest is
followed as well as it can be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from lab.simulation.course import Course
from lab.simulation.hub import STEP, Hub, TimerEntry
from lab.simulation.schedule import Kind, SeededSchedule
from protocol.journal import Record

TIMER: Final = "timer"
CHOICES: Final = 64
"""Over so many choices the clock goes from one record of the real run to the time of the next."""
PATIENCE: Final = 500_000
"""Units of 100 ns, from the time of a record on, after which it is given up: a timer may be late."""
PATIENT_CHOICES: Final = 4000
"""The same in choices: whoever is busy has that many to come to it."""
END_TIMES: Final = 20
"""So much more for the end of an action, which the next one may rest on."""
CHANCE_BITS: Final = 3
"""One choice in 2**CHANCE_BITS is left to chance, lest whoever goes first and gets nowhere goes on for ever."""


class SteeredSchedule:
    """Whoever has the earliest record of the real order before him goes first; where that says nothing, chance."""

    def __init__(self, course: Course, seed: int) -> None:
        self._course = course
        self._chance = SeededSchedule(seed)
        self._bits = random.Random(seed).getrandbits

    def choose(self, kind: Kind, names: Sequence[str], passed: int) -> int:
        if len(names) > 1 and self._bits(CHANCE_BITS):
            places = [self._place(name) for name in names]
            first = min(places)
            if first < len(self._course.steps):
                equals = [index for index, place in enumerate(places) if place == first]
                return equals[self._bits(16) % len(equals)]
        return self._chance.choose(kind, names, passed)

    def _place(self, name: str) -> int:
        """A timer that is due was before what comes next. An envelope on its way is its receiver's business."""
        return -1 if name == TIMER else self._course.place_of(name.removeprefix("to "))

    def at_point(self, name: str, passed: int, may_interrupt: Callable[[], bool]) -> Kind | None:
        return self._chance.at_point(name, passed, may_interrupt)

    def end(self) -> None:
        """The end of the course is not the end of the run."""


class Steering:
    """Keeps the simulation's clock, and whoever is outside, to the course. ``act`` does what a record says was done."""

    def __init__(self, course: Course, hub: Hub, act: Callable[[Record], None]) -> None:
        self.course = course
        self._hub = hub
        self._act = act
        self._alarm: TimerEntry | None = None
        self._go_on()

    def met(self, record: Record) -> None:
        """Something has happened in the simulation."""
        if self.course.meet(record):
            self._go_on()

    def _go_on(self) -> None:
        """Time passes until the next record, so that timers go off before it that did so then."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        step = self.course.next
        if step is None:
            self._hub.pace = STEP
            return
        self._wait(step.record.time - self._hub.time, CHOICES, self._arrived)

    def _arrived(self) -> None:
        """It is as late as it was when the next record was written."""
        if self.course.action_due:
            self._act(self.course.take_action())
            self._go_on()
        else:
            times = END_TIMES if self.course.end_due else 1
            self._wait(PATIENCE * times, PATIENT_CHOICES * times, self._give_up)

    def _give_up(self) -> None:
        self.course.give_up()
        self._go_on()

    def _wait(self, time: int, choices: int, then: Callable[[], None]) -> None:
        self._hub.pace = max(STEP, time // choices)
        self._alarm = self._hub.call_later(time / 10_000_000, then)
