"""How much the guest can do without, and what it tells the host of that."""

from __future__ import annotations

from protocol.ids import PAGE_SIZE
from protocol.wire.dynmem import Status

_MIB = (1 << 20) // PAGE_SIZE
_FLOORS = ((128, 8, 1), (512, 40, 2), (2048, 104, 3), (8192, 232, 4))
"""(below so many MiB, a floor of so many MiB, and the part of the memory that is 1 / 2**n)."""


def compute_balloon_floor(totalram_pages: int) -> int:
    """``compute_balloon_floor``: pages that are never given away."""
    for limit, floor, shift in _FLOORS:
        if totalram_pages < limit * _MIB:
            return floor * _MIB + (totalram_pages >> shift)
    return 488 * _MIB + (totalram_pages >> 5)


def status(free_pages: int, totalram_pages: int, ballooned: int) -> Status:
    """``post_status``: what is given away counts as committed, or the host would take ever more."""
    used = totalram_pages - free_pages - ballooned
    return Status(free_pages, used + ballooned + compute_balloon_floor(totalram_pages))
