"""Spin locks of the simulation: spinning is a state of the CPU, seen by the scheduler."""

from __future__ import annotations

from typing import Protocol

from guest.kernel.locks import RawLock
from lab.simulation.hub import Hub, Runner, Wait


class LockWatch(Protocol):
    """Who wants to know of every spin lock that is taken; it observes and never steers."""

    def taking(self, runner: Runner, family: str) -> None:
        """``runner`` is about to take a lock of ``family``; it may have to spin for it."""

    def taken(self, runner: Runner, family: str) -> None:
        """It has got it."""

    def released(self, runner: Runner, family: str) -> None:
        """It has let it go."""


class SimulatedLock:
    """A lock that any greenlet may hold. A spinning CPU takes interrupts if it has them enabled, as hardware would.

    Nobody is served first: whoever the schedule picks among those that spin gets it.
    """

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.owner: Runner | None = None
        self.watch: LockWatch | None = None
        self._hub = hub
        self._family = name.partition("/")[0]
        self._acquiring = f"lock.{self._family}"
        self._released = f"unlock.{self._family}"

    def acquire(self) -> None:
        hub = self._hub
        me = hub.current
        if self.watch and me is not None:
            self.watch.taking(me, self._family)
        hub.point(self._acquiring)
        if self.owner is not None and me is not None:
            wait = Wait(f"lock {self.name}", lambda: self.owner is None or me.may_interrupt(), lambda: self.owner)
            while self.owner is not None:
                hub.block(wait)
                if me.may_interrupt():
                    me.interrupt()
        self.owner = me
        if self.watch and me is not None:
            self.watch.taken(me, self._family)

    def release(self) -> None:
        if self.watch and self.owner is not None:
            self.watch.released(self.owner, self._family)
        self.owner = None
        self._hub.point(self._released)


class SimulatedLocks:
    """The lock bank of a simulated guest: one lock per name, made when first asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._locks: dict[str, SimulatedLock] = {}
        self._watch: LockWatch | None = None

    def raw(self, name: str) -> RawLock:
        if name not in self._locks:
            lock = self._locks[name] = SimulatedLock(name, self._hub)
            lock.watch = self._watch
        return self._locks[name]

    def watched_by(self, watch: LockWatch) -> None:
        """From now on ``watch`` is told of every lock."""
        self._watch = watch
        for lock in self._locks.values():
            lock.watch = watch
