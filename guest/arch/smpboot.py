"""Which CPUs run: ``cpu_online_mask``."""

from __future__ import annotations

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Word


class CpuMaskWords(Struct):
    """Bit n of a mask is CPU n."""

    online = Word("cpu_online_mask lock")


class CpuMasks:
    """One CPU's view."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.words = core.memory.one(CpuMaskWords)
        self._lock = core.locks.spin("cpu_online_mask")

    @property
    def online(self) -> int:
        """``cpu_online_mask``."""
        return self.words.online

    def set_cpu_online(self, online: bool) -> None:
        """This CPU runs from now on, or no more. Linux sets the bit by an atomic operation."""
        bit = 1 << self._core.cpu
        with self._lock:
            self.words.online = self.words.online & ~bit | (bit if online else 0)
