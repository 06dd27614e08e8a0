"""How things are timed that are to be compared: in turns, in short slices, and the fastest slice counts.

On a shared machine whatever makes a slice slower than the fastest one is mostly somebody else's work. What is left of
it disturbs both sides of a ratio alike, since their slices alternate; and the median over the rounds is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Progress = Callable[[str, int, int], None]
"""Told what is being measured, and how much of how many is done."""

K = TypeVar("K")


def fastest(work: Mapping[K, Callable[[], float]], slices: int) -> dict[K, float]:
    """Call each piece of work ``slices`` times, in turns with the others; the least that each has returned."""
    names = list(work)
    best: dict[K, float] = {}
    for turn in range(slices):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds = work[name]()
            best[name] = min(seconds, best.get(name, seconds))
    return best
