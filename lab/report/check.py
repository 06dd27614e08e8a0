"""One comparison of two numbers that were counted apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 4
"""How many entries of two mappings that differ are printed."""


@dataclass(frozen=True, slots=True)
class Check:
    """Who counted what on either side. Mappings are compared entry by entry."""

    name: str
    left: str
    left_value: Any
    right: str
    right_value: Any
    invariant: str = ""
    """Its number in the catalogue."""
    defect: str = ""
    """The known defect of the design under test, if it breaks just this: then it is named, and is no failure."""
    highlight: bool = False
    """Worth a line of its own even when it holds."""

    @property
    def holds(self) -> bool:
        return bool(self.left_value == self.right_value)

    @property
    def failed(self) -> bool:
        """Out, and not by a known defect."""
        return not self.holds and not self.defect

    def __str__(self) -> str:
        sign = "=" if self.holds else "is not"
        left, right = _brief(self.left_value, self.right_value), _brief(self.right_value, self.left_value)
        return f"{self.name}: {self.left} {left} {sign} {self.right} {right}"


def _brief(value: Any, other: Any) -> str:
    """A mapping by its size if the other side has the same, else by what differs."""
    if not isinstance(value, Mapping):
        return str(value)
    if value == other:
        return f"{len(value)} entries"
    differ = {key: entry for key, entry in value.items() if key not in other or other[key] != entry}
    shown = ", ".join(f"{key}: {entry}" for key, entry in list(differ.items())[:SHOWN])
    return "{" + shown + (", ..." if len(differ) > SHOWN else "") + "}"
