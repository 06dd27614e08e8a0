"""Spin locks of the simulation: spinning is a state of the CPU, seen by the scheduler."""

from __future__ import annotations

from guest.kernel.locks import RawLock
from lab.simulation.hub import Hub, Runner, Wait


class SimulatedLock:
    """A lock that any greenlet may hold. A spinning CPU takes interrupts if it has them enabled, as hardware would.

    Nobody is served first: whoever the schedule picks among those that spin gets it.
    """

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.owner: Runner | None = None
        self._hub = hub
        family = name.partition("/")[0]
        self._acquiring = f"lock.{family}"
        self._released = f"unlock.{family}"

    def acquire(self) -> None:
        hub = self._hub
        hub.point(self._acquiring)
        me = hub.current
        if self.owner is not None and me is not None:
            wait = Wait(f"lock {self.name}", lambda: self.owner is None or me.may_interrupt(), lambda: self.owner)
            while self.owner is not None:
                hub.block(wait)
                if me.may_interrupt():
                    me.interrupt()
        self.owner = me

    def release(self) -> None:
        self.owner = None
        self._hub.point(self._released)


class SimulatedLocks:
    """The lock bank of a simulated guest: one lock per name, made when first asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._locks: dict[str, SimulatedLock] = {}

    def raw(self, name: str) -> RawLock:
        if name not in self._locks:
            self._locks[name] = SimulatedLock(name, self._hub)
        return self._locks[name]
