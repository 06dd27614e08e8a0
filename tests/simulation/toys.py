"""The scheduler with participants of a few lines each."""

from __future__ import annotations

from collections.abc import Callable

from lab.simulation.hub import Hub, Runner
from lab.simulation.locks import SimulatedLock
from lab.simulation.schedule import Decision, Schedule, SeededSchedule


class Toys:
    """A hub, its locks, and CPUs that each do one thing once. ``decisions`` is what was decided."""

    def __init__(self, seed: int = 0, schedule: Schedule | None = None) -> None:
        self.decisions: list[Decision] = []
        self._schedule = schedule or SeededSchedule(seed)
        self.hub = Hub(self._schedule, self.decisions.append)
        self.finished = 0
        self._begun = 0

    def lock(self, name: str) -> SimulatedLock:
        return SimulatedLock(name, self.hub)

    def cpu(self, name: str, work: Callable[[], None]) -> Runner:
        """A CPU that does ``work``, once."""
        to_do = [work]
        self._begun += 1

        def body() -> None:
            to_do.pop()()
            self.finished += 1

        return self.hub.add(name, body, lambda: bool(to_do))

    def run(self) -> None:
        """Until all have done their work."""
        try:
            self.hub.run_until(lambda: self.finished == self._begun, 1000, "the end of all work")
        finally:
            self.hub.close()
        self._schedule.end()
