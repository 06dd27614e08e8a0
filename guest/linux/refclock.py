"""The partition's reference time, and the page from which the guest reads it without asking (TLFS, reference TSC)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property
from typing import Final

UNITS_PER_SECOND: Final = 10_000_000
SEQUENCE: Final = 1
"""0 would say that the page is not valid."""


class ReferenceClock:
    """Reference time is 100 ns units since the VM was created: ``tsc * scale / 2**64 + offset`` for the guest."""

    def __init__(self, now: Callable[[], int], measure_tsc: Callable[[], int]) -> None:
        self.now = now
        self._measure_tsc = measure_tsc

    @cached_property
    def tsc_hz(self) -> int:
        """What was measured when the guest first asked; it stays so."""
        return self._measure_tsc()

    def page(self, tsc: int) -> bytes:
        """The page; ``tsc`` is the guest's counter now."""
        scale = (UNITS_PER_SECOND << 64) // self.tsc_hz
        offset = self.now() - (tsc * scale >> 64)
        return struct.pack("<IIQq", SEQUENCE, 0, scale, offset)
