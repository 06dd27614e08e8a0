"""The file that one process of a VM writes its journal into."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from protocol.journal import Recorder


@dataclass(frozen=True, slots=True)
class JournalFile:
    """``events``: those that are written down; all, if it names none."""

    fd: int
    events: tuple[str, ...] = ()

    def recorder(self, who: str, now: Callable[[], int]) -> Recorder:
        """The journal of one participant; a process may have several."""
        return Recorder(who, now, partial(os.write, self.fd), self.events)
