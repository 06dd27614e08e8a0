"""What a report says about a channel."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What a report says about a channel, or about a relid whichever channels had it, over all their opens."""

    opens: int = 0
    signals_raised: int = 0
    signals_refused: int = 0
    doorbells: int = 0

    def add(self, more: "Counts", since: "Counts") -> None:
        """Take over what ``more`` counted after it was like ``since``."""
        self.opens += more.opens - since.opens
        self.signals_raised += more.signals_raised - since.signals_raised
        self.signals_refused += more.signals_refused - since.signals_refused
        self.doorbells += more.doorbells - since.doorbells
