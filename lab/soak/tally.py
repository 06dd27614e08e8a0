"""What a soak has done to the VM, and what it has seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

DEFECTS: Final = {
    "D1": "the second open of a channel fails with EBUSY: the IRQ is still requested (RFC patch 9)",
    "D2": "a write to a channel's cpu file returns 0, so that echo never ends (RFC patch 10)",
    "D5": "a move that a close overtakes is never answered: the counters of RFC patch 11 never meet again",
    "R8": "the second of two interrupts of a channel at once is dropped uncounted (handle_simple_irq, RFC patch 7)",
    "R8 stranded": "such a drop left data in a ring that nobody would have read: the device was offered anew",
}
"""What the RFC as posted gets wrong and a soak can meet: counted, named, and no failure of the test."""


@dataclass(slots=True)
class Tally:
    """Counts since the start."""

    moves: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """Of writes, by errno: a channel that is being closed cannot be moved."""
    rescinds: int = 0
    reopens: int = 0
    late: int = 0
    """How often the host was given another delay."""
    actions: int = 0
    """Of devices: keys, backups, balloons."""
    cuts: int = 0
    defects: Counter[str] = field(default_factory=Counter)
