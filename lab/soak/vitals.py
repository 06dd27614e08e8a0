"""Memory and file descriptors of the VM's processes (/proc/PID/statm, /proc/PID/fd)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of all processes together: private resident bytes, and open file descriptors."""

    private_bytes: int
    descriptors: int

    @classmethod
    def of(cls, pids: list[int]) -> Self:
        """Shared pages (guest RAM, kernel memory, libraries) are not counted."""
        page = os.sysconf("SC_PAGE_SIZE")
        private = 0
        for pid in pids:
            _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
            private += (resident - shared) * page
        return cls(private, sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids))
