"""How fast this machine's time-stamp counter runs. QEMU's guests read the same counter, from 0 at their start."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from typing import Final

RDTSC: Final = bytes([0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3])
"""rdtsc; shl rdx, 32; or rax, rdx; ret."""
NS_PER_SECOND: Final = 1_000_000_000
TRIES: Final = 16


class TscRate:
    """Compares the counter with the monotonic clock: the longer between the two looks, the better."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page.write(RDTSC)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._rdtsc: Callable[[], int] = ctypes.PYFUNCTYPE(ctypes.c_uint64)(address)
        self._start = self._look()

    def _look(self) -> tuple[int, int]:
        """Counter and nanoseconds at one moment: the closest of a few pairs."""

        def pair() -> tuple[int, int, int]:
            before = time.monotonic_ns()
            tsc = self._rdtsc()
            after = time.monotonic_ns()
            return after - before, tsc, (before + after) // 2

        _, tsc, now = min(pair() for _ in range(TRIES))
        return tsc, now

    def hertz(self) -> int:
        """Counts per second since this object was made."""
        tsc, now = self._look()
        return (tsc - self._start[0]) * NS_PER_SECOND // (now - self._start[1])
