"""What is compared: sequences of items, by the name of the place where they were seen.

An item's text has everything that must be equal, and nothing that a guest may choose: pages, GPADL ids, the VP that
makes a call, what the clock says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """``name`` says what it is, ``text`` all of it."""

    name: str
    text: str


Streams = dict[str, list[Item]]
"""In the order in which they are shown."""


def lines(texts: Iterable[str]) -> list[Item]:
    """Items that are named by their first word."""
    return [Item(text.split(maxsplit=1)[0].rstrip(":"), text) for text in texts]
