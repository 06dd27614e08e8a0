"""The order of spin locks in a simulated VM, as lockdep sees it: which family is taken inside which, and by whom."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import FrameType
from typing import Final

from lab.simulation.hub import Runner
from lab.simulation.vm import SimulatedVM

DRIVER: Final = ("driver", "napi", "stor_device", "xmit")
"""Families of drivers' locks."""
ORDER: Final = (("desc",), ("set_affinity_lock",), DRIVER)
"""Families from the outside to the inside (RFC patch 12 and the review of it). ``channel_mutex`` is outside of all of
them because ``might_sleep()`` refuses whoever waits with a spin lock."""
IRQS_OFF: Final = frozenset({"set_affinity_lock"})
"""Nested inside locks that interrupt handlers take, so an interrupt on top of the holder may never come back (R6)."""
WITHIN: Final = ("guest/kernel/locks.py", "lab/simulation/")
"""Files that are on the way from whoever takes a lock to here."""


@dataclass(frozen=True, slots=True)
class Taking:
    """A lock of ``inner`` was taken by function ``taker``, with one of ``outer`` held that ``holder`` had taken."""

    inner: str
    taker: str
    outer: str = ""
    holder: str = ""

    def __str__(self) -> str:
        if not self.outer:
            return f"{self.taker} takes {self.inner} with interrupts on"
        return f"{self.taker} takes {self.inner} inside {self.outer} of {self.holder}"


class LockOrder:
    """A ``LockWatch`` of one VM. An interrupt counts as part of what it is taken on top of, for so it spins."""

    def __init__(self, vm: SimulatedVM) -> None:
        self.nested: set[Taking] = set()
        """Every nesting that was seen."""
        self.exposed: set[Taking] = set()
        """Locks of ``IRQS_OFF`` that were taken with interrupts on."""
        self._cores = {cpu.name: cpu.core for cpu in vm.cpus}
        self._held: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        vm.locks.watched_by(self)

    @property
    def wrong(self) -> set[Taking]:
        """Against ``ORDER`` or ``IRQS_OFF``."""
        rank = {family: number for number, families in enumerate(ORDER) for family in families}
        inverted = {
            taking
            for taking in self.nested
            if taking.inner in rank and taking.outer in rank and rank[taking.inner] < rank[taking.outer]
        }
        return inverted | self.exposed

    def cycle(self) -> list[str]:
        """Families each of which was taken inside the one before it, round in a circle; empty if there is none."""
        inside: defaultdict[str, set[str]] = defaultdict(set)
        for taking in self.nested:
            inside[taking.inner].add(taking.outer)
        try:
            TopologicalSorter(inside).prepare()
        except CycleError as error:
            return list(error.args[1])
        return []

    # A LockWatch.

    def taking(self, runner: Runner, family: str) -> None:
        taker = _taker()
        self.nested |= {Taking(family, taker, outer, holder) for outer, holder in self._held[runner.name]}
        if family in IRQS_OFF and self._cores[runner.name].interruptible:
            self.exposed.add(Taking(family, taker))

    def taken(self, runner: Runner, family: str) -> None:
        self._held[runner.name].append((family, _taker()))

    def released(self, runner: Runner, family: str) -> None:
        held = self._held[runner.name]
        last = max(index for index, (name, _) in enumerate(held) if name == family)
        del held[last]


def _taker() -> str:
    """The innermost function that is no lock itself."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and any(place in frame.f_code.co_filename for place in WITHIN):
        frame = frame.f_back
    return frame.f_code.co_name if frame is not None else "?"
