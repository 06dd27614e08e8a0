"""Figures with a gate and a goal. The gate fails a build; the goal is near what this kind of machine can do at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median


class Verdict(Enum):
    """How a figure stands."""

    GOAL = "goal"
    PASSED = "passed"
    FAILED = "FAILED"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement with one value for each round. ``larger``: more is better. Without a gate it only informs."""

    name: str
    values: Sequence[float]
    gate: float | None = None
    goal: float | None = None
    larger: bool = False
    unit: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest round."""
        return min(self.values), max(self.values)

    @property
    def verdict(self) -> Verdict:
        if self.gate is None:
            return Verdict.NONE
        if not self._meets(self.gate):
            return Verdict.FAILED
        return Verdict.GOAL if self.goal is not None and self._meets(self.goal) else Verdict.PASSED

    def _meets(self, limit: float) -> bool:
        return self.median >= limit if self.larger else self.median <= limit

    def plain(self) -> dict[str, object]:
        """The figure as plain data."""
        low, high = self.spread
        return {
            "name": self.name,
            "unit": self.unit or "ratio",
            "median": self.median,
            "low": low,
            "high": high,
            "gate": self.gate,
            "goal": self.goal,
            "better": "larger" if self.larger else "smaller",
            "verdict": self.verdict.name.lower(),
            "rounds": list(self.values),
        }


def ratios(over: Iterable[float], under: Iterable[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(over, under, strict=True)]
