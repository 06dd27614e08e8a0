"""What has gone wrong without ending the VM, as its host tells it: bounded, whatever a guest does."""

from __future__ import annotations

from collections import Counter
from typing import Final

LIMIT: Final = 100
"""Different texts that are kept; a guest may put any number into them."""


class Complaints:
    """Texts in the order in which each was first said."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._others = 0

    def add(self, text: str) -> None:
        """Once more."""
        if text in self._counts or len(self._counts) < LIMIT:
            self._counts[text] += 1
        else:
            self._others += 1

    def lines(self) -> list[str]:
        """Each text, with how often if it was not once; at the end how many were not kept."""
        told = [text if count == 1 else f"{text} ({count} times)" for text, count in self._counts.items()]
        return [*told, f"and {self._others} more"] if self._others else told
