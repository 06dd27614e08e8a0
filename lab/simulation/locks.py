"""Spin locks of the simulation: spinning is a state of the CPU, seen by the scheduler."""

from __future__ import annotations

from guest.kernel.locks import RawLock
from lab.simulation.hub import Hub, Runner


class SimulatedLock:
    """A lock that any greenlet may hold. A spinning CPU takes interrupts if it has them enabled, as hardware would."""

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.owner: Runner | None = None
        self._hub = hub

    def acquire(self) -> None:
        hub = self._hub
        hub.point("lock")
        me = hub.current
        while self.owner is not None and me is not None:
            hub.block(lambda: self.owner is None or me.can_interrupt(), self._wait)
            me.interrupt()
        self.owner = me

    def release(self) -> None:
        self.owner = None
        self._hub.point("unlock")

    def _wait(self) -> str:
        return f"lock {self.name}, which {self.owner.name if self.owner else 'nobody'} holds"


class SimulatedLocks:
    """The lock bank of a simulated guest: one lock per name, made when first asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._locks: dict[str, SimulatedLock] = {}

    def raw(self, name: str) -> RawLock:
        if name not in self._locks:
            self._locks[name] = SimulatedLock(name, self._hub)
        return self._locks[name]
