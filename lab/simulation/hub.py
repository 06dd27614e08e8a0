"""The scheduler of the simulation: every CPU and the host are greenlets, and a schedule decides who goes on when.

At a preemption point the schedule may switch to another CPU, deliver an envelope, fire a timer, or let the CPU take an
interrupt on top of what runs. Time is virtual: each choice costs a microsecond, and when nobody can go on it jumps to
the next timer. Waiting for a lock, for an answer, and spinning in ``cpu_relax()`` are states, so that a deadlock is
found and named, not hung on. Nothing depends on hash or identity order.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from greenlet import GreenletExit, greenlet

from lab.simulation.schedule import Decision, Kind, Misfit, Schedule

STEP = 10
"""Virtual time of one choice, in units of 100 ns, unless somebody sets the clock's pace."""
SPIN_STEP = 10_000
"""Virtual time that passes at most while nobody does anything but spin."""
LOCKUP_SECONDS = 10.0
"""Whoever waits so long without being suspended waits for ever."""
RELAX = "cpu_relax"
"""The point that busy waiting passes: the others go first."""


class Deadlock(Exception):
    """Somebody can never go on; the message says who waits for what, and who has it."""


class OutOfTime(Exception):
    """A condition did not come true in the virtual time that it was given."""


@dataclass(slots=True)
class Wait:
    """What a participant waits for inside its own code, on its own stack."""

    what: str
    may_end: Callable[[], bool]
    owner: Callable[[], Runner | None] = lambda: None
    """Who has it now, if it can be held."""
    since: int = 0
    spinning: bool = False


@dataclass(slots=True, eq=False)
class Runner:
    """One greenlet. ``can_run`` tells whether its body would get anywhere if it were called now."""

    name: str
    can_run: Callable[[], bool]
    greenlet: greenlet
    idle: bool = True
    """Between two calls of its body; otherwise it was preempted in the middle and can simply go on."""
    may_interrupt: Callable[[], bool] = lambda: False
    """A CPU with a pending vector and interrupts enabled."""
    interrupt: Callable[[], None] = lambda: None
    """Take what is pending, on top of what runs."""
    wait: Wait | None = None

    @property
    def ready(self) -> bool:
        if self.wait is not None:
            return self.wait.may_end()
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that may happen by itself at any time at which it is ready."""

    name: str
    ready: Callable[[], bool]
    deliver: Callable[[], None]


class Hub:
    """Who goes on next, as ``schedule`` says. ``note`` is told every decision."""

    def __init__(self, schedule: Schedule, note: Callable[[Decision], None] = lambda decision: None) -> None:
        self.time = 0
        self.pace = STEP
        """Virtual time of one choice from now on."""
        self.decisions = 0
        self.points: Counter[str] = Counter()
        """How often each preemption point was passed."""
        self.runners: list[Runner] = []
        self.current: Runner | None = None
        self.note = note
        self._schedule = schedule
        self._passed = 0
        self._misfit: Misfit | None = None
        """Found inside a participant, whose code is not to see it."""
        self._root = greenlet.getcurrent()
        self._deliveries: list[Delivery] = []
        self._timers: list[TimerEntry] = []
        self._timer_number = 0

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

    def add_delivery(self, name: str, ready: Callable[[], bool], deliver: Callable[[], None]) -> None:
        """Something that happens by itself, as an envelope arriving."""
        self._deliveries.append(Delivery(name, ready, deliver))

    def call_later(self, seconds: float, then: Callable[[], None]) -> TimerEntry:
        """A timer in virtual time."""
        self._timer_number += 1
        entry = TimerEntry(self.time + max(1, round(seconds * 10_000_000)), self._timer_number, then)
        heapq.heappush(self._timers, entry)
        return entry

    # --- from inside a participant --------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A preemption point of whoever runs: the schedule may come in, or an interrupt."""
        runner = self.current
        if runner is None:  # the VM is being put together or taken apart, and nobody else runs
            return
        self.points[name] += 1
        if name == RELAX:
            self._relax(runner)
            return
        runner.wait = None
        self._passed += 1
        try:
            move = self._schedule.at_point(name, self._passed, runner.may_interrupt)
        except Misfit as misfit:
            self._misfit = misfit
            self._root.switch()
            raise
        if move is None:
            return
        self._decided(move, name)
        if move is Kind.PREEMPT:
            self._root.switch()
        else:
            runner.interrupt()

    def _relax(self, runner: Runner) -> None:
        """Busy waiting: since when is remembered until the runner passes another point."""
        if runner.wait is None:
            runner.wait = Wait("what it polls in cpu_relax()", lambda: True, since=self.time, spinning=True)
        spin = runner.wait
        self._root.switch()
        if runner.may_interrupt():
            runner.interrupt()
        runner.wait = spin

    def block(self, wait: Wait) -> None:
        """Wait inside one's own code until it may end: a spin lock, a call to the host."""
        runner = self.current
        assert runner is not None, "only a participant can wait"
        wait.since = wait.since or self.time
        while not wait.may_end():
            runner.wait = wait
            self._root.switch()
        runner.wait = None

    def choose(self, kind: Kind, names: Sequence[str]) -> int:
        """Have the schedule decide between several possibilities."""
        choice = self._schedule.choose(kind, names, self._passed)
        self._decided(kind, names[choice])
        return choice

    def _decided(self, kind: Kind, name: str) -> None:
        self.note(Decision(kind, name, self._passed))
        self.decisions += 1
        self._passed = 0

    # --- the loop -------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One choice. False if nothing can ever happen."""
        names: list[str] = []
        actions: list[Callable[[], None]] = []
        only_spinning = True
        for runner in self.runners:
            wait = runner.wait
            if wait is not None and self.time - wait.since > LOCKUP_SECONDS * 10_000_000:
                raise Deadlock(f"{self._blame(runner)}, for {LOCKUP_SECONDS:g} s")
            if runner.ready:
                names.append(runner.name)
                actions.append(partial(self._switch, runner))
                only_spinning = only_spinning and wait is not None and wait.spinning
        for delivery in self._deliveries:
            if delivery.ready():
                names.append(delivery.name)
                actions.append(delivery.deliver)
                only_spinning = False
        if only_spinning:
            self._let_time_pass(bool(names))
        if self._next_timer() <= self.time:
            names.append("timer")
            actions.append(self._fire)
        if not names:
            stuck = [runner for runner in self.runners if runner.wait is not None]
            if stuck:
                raise Deadlock("; ".join(map(self._blame, stuck)))
            return False
        choice = self.choose(Kind.RUN, names)
        self.time += self.pace
        actions[choice]()
        return True

    def _next_timer(self) -> float:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0].at if self._timers else float("inf")

    def _let_time_pass(self, somebody_spins: bool) -> None:
        """Nobody can do anything before the next timer, except look at the clock."""
        until = self._next_timer()
        if somebody_spins:
            until = min(until, self.time + SPIN_STEP)
        if until != float("inf"):
            self.time = max(self.time, int(until))

    def _fire(self) -> None:
        heapq.heappop(self._timers).then()

    def _switch(self, runner: Runner) -> None:
        self.current = runner
        try:
            runner.greenlet.switch()
        finally:
            self.current = None
        if self._misfit is not None:
            raise self._misfit
        if runner.idle:
            runner.wait = None
        elif runner.wait is not None:
            self._look_for_cycle(runner)

    def _look_for_cycle(self, runner: Runner) -> None:
        """Whoever waits for a lock whose owner, over any number of others, waits for one of its own, waits for ever.

        Timers may go on firing meanwhile, and interrupts may be taken: neither makes an owner let go.
        """
        chain = [runner]
        while (wait := chain[-1].wait) is not None and (owner := wait.owner()) is not None:
            if owner is runner:
                raise Deadlock("; ".join(map(self._blame, chain)))
            if owner in chain:
                return  # a cycle that ``runner`` only leads to has been reported when it closed
            chain.append(owner)

    @staticmethod
    def _blame(runner: Runner) -> str:
        wait = runner.wait
        assert wait is not None
        owner = wait.owner()
        return f"{runner.name} waits for {wait.what}" + (f", which {owner.name} holds" if owner is not None else "")

    def run_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Go on until ``condition`` holds. Raises ``OutOfTime`` after ``seconds`` of virtual time, or ``Deadlock``."""
        deadline = self.time + round(seconds * 10_000_000)
        while not condition():
            if self.time > deadline or not self.step():
                raise OutOfTime(f"{what} did not happen within {seconds:g} s of virtual time")

    def close(self) -> None:
        """End every greenlet; what they hold is let go by their own ``with`` statements."""
        for runner in self.runners:
            if runner.greenlet:
                runner.greenlet.throw(GreenletExit)
