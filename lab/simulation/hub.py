"""The scheduler of the simulation: every CPU and the host are greenlets, and a seed decides who runs when.

At a preemption point the scheduler may switch to another CPU, deliver an envelope, fire a timer, or let the CPU take
an interrupt on top of what it runs. Time is virtual: each decision costs a microsecond, and when nobody can run it
jumps to the next timer. Spinning is a state, so that a deadlock is found and named, not hung on. Nothing depends on
hash or identity order, and only ``getrandbits`` is used: equal seeds give equal schedules on every machine.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from greenlet import GreenletExit, greenlet

STEP = 10
"""Virtual time of one decision, in units of 100 ns."""

SWITCH_BITS = 3
"""At one point in 2**SWITCH_BITS the running CPU is preempted."""


class Deadlock(Exception):
    """Nobody can ever run again; the message says who waits for what."""


class OutOfTime(Exception):
    """A condition did not come true in the virtual time that it was given."""


@dataclass(slots=True, eq=False)
class Runner:
    """One greenlet. ``can_run`` tells whether it would get anywhere if it were switched to."""

    name: str
    can_run: Callable[[], bool]
    greenlet: greenlet
    idle: bool = True
    """Between two calls of its body; otherwise it was preempted in the middle and can simply go on."""
    can_interrupt: Callable[[], bool] = lambda: False
    """A CPU with a pending vector and interrupts enabled."""
    interrupt: Callable[[], None] = lambda: None
    """Take what is pending, on top of what runs."""
    waiting_for: Callable[[], str] = lambda: ""
    blocked: Callable[[], bool] | None = None
    """While it waits inside its own code (a lock, a call): whether it may go on."""

    @property
    def ready(self) -> bool:
        if self.blocked is not None:
            return self.blocked()
        return not self.idle or self.can_run()


@dataclass(slots=True, order=True)
class TimerEntry:
    """A timer; ``number`` keeps equal times in the order in which they were set."""

    at: int
    number: int
    then: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Hub:
    """Who runs next. Deliveries are queues with an action each; a queue that is not empty may be served any time."""

    def __init__(self, seed: int) -> None:
        self.time = 0
        self.decisions = 0
        self.runners: list[Runner] = []
        self.current: Runner | None = None
        self._random = random.Random(seed)
        self._root = greenlet.getcurrent()
        self._deliveries: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._timers: list[TimerEntry] = []
        self._timer_number = 0
        self.note: Callable[[int], None] = lambda choice: None
        """Told each decision: they belong to the journal, since one point more changes the meaning of a seed."""

    # --- participants ---------------------------------------------------------------------------------------------

    def add(self, name: str, body: Callable[[], None], can_run: Callable[[], bool]) -> Runner:
        """A participant: ``body`` is called again and again, whenever ``can_run`` says so."""

        def loop() -> None:
            while True:
                runner.idle = False
                body()
                runner.idle = True
                self._root.switch()

        runner = Runner(name, can_run, greenlet(loop, self._root))
        self.runners.append(runner)
        return runner

    def add_delivery(self, ready: Callable[[], bool], deliver: Callable[[], None]) -> None:
        """Something that happens by itself, as an envelope arriving."""
        self._deliveries.append((ready, deliver))

    def call_later(self, seconds: float, then: Callable[[], None]) -> TimerEntry:
        """A timer in virtual time."""
        self._timer_number += 1
        entry = TimerEntry(self.time + max(1, round(seconds * 10_000_000)), self._timer_number, then)
        heapq.heappush(self._timers, entry)
        return entry

    # --- from inside a participant --------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A preemption point of whoever runs: the scheduler may come in, or an interrupt."""
        runner = self.current
        if runner is None:  # the VM is being put together, and nobody else runs yet
            return
        draw = self._random.getrandbits(SWITCH_BITS)
        if draw == 0:
            self._root.switch()
        elif draw == 1 and runner.can_interrupt():
            runner.interrupt()

    def block(self, may_go_on: Callable[[], bool], waiting_for: Callable[[], str]) -> None:
        """Wait inside one's own code until ``may_go_on``: a spin lock, a call to the host."""
        runner = self.current
        assert runner is not None, "only a participant can wait"
        while not may_go_on():
            runner.blocked, runner.waiting_for = may_go_on, waiting_for
            self._root.switch()
        runner.blocked = None

    # --- the loop -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One decision. False if nothing can happen before a timer, and there is none."""
        choices: list[Callable[[], None]] = []
        for runner in self.runners:
            if runner.ready:
                choices.append(partial(self._switch, runner))
        choices.extend(deliver for ready, deliver in self._deliveries if ready())
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        due = bool(self._timers) and (self._timers[0].at <= self.time or not choices)
        if due:
            choices.append(self._fire)
        if not choices:
            stuck = [runner for runner in self.runners if runner.blocked is not None]
            if stuck:
                raise Deadlock("; ".join(f"{runner.name} waits for {runner.waiting_for()}" for runner in stuck))
            return False
        choice = self._pick(len(choices))
        self.decisions += 1
        self.time += STEP
        self.note(choice)
        choices[choice]()
        return True

    def _pick(self, count: int) -> int:
        if count == 1:
            return 0
        return self._random.getrandbits(16) % count

    def _fire(self) -> None:
        entry = heapq.heappop(self._timers)
        self.time = max(self.time, entry.at)
        entry.then()

    def _switch(self, runner: Runner) -> None:
        self.current = runner
        runner.greenlet.switch()
        self.current = None

    def run_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Decide until ``condition`` holds. Raises ``OutOfTime`` after ``seconds`` of virtual time, or ``Deadlock``."""
        deadline = self.time + round(seconds * 10_000_000)
        while not condition():
            if self.time > deadline or not self.step():
                raise OutOfTime(f"{what} did not happen within {seconds} s of virtual time")

    def close(self) -> None:
        """End every greenlet."""
        for runner in self.runners:
            if runner.greenlet:
                runner.greenlet.throw(GreenletExit)
