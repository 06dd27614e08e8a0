"""What a CPU does after its interrupts and before its tasks, with interrupts on."""

from __future__ import annotations

from typing import Protocol


class Softirq(Protocol):
    """An entry in the list of what this CPU has been asked to run: a tasklet, a NAPI instance."""

    def run(self) -> bool:
        """Run it once; it may put itself on the list again. False: it could not run now, and has done so."""
