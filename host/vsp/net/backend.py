"""What is behind a NIC, and what it sees of the NIC: Ethernet frames, in batches."""

from collections.abc import Sequence
from typing import Protocol

Frames = Sequence[bytes]
"""Ethernet frames without preamble and checksum."""


class Port(Protocol):
    """The NIC as its back end sees it."""

    def deliver(self, frames: Frames, queue: int | None = None) -> int:
        """Hand frames to the guest, in one interrupt for each channel at most. Returns how many have been dealt with.

        Fewer than all: the guest has no receive buffers left, or a full ring. Drop the rest or keep it; ``resume`` will
        be called. A frame that the guest does not want (its packet filter, or a closed NIC) counts as dealt with.
        ``queue`` is the channel to use; without it, the guest's RSS parameters decide.
        """


class Backend(Protocol):
    """The network behind one NIC. All calls are made from one thread."""

    def connect(self, port: Port) -> None:
        """Once, before anything else."""

    def transmit(self, frames: Frames, queue: int) -> None:
        """The guest sent these, in this order, on channel ``queue``. They are copies of its memory."""

    def resume(self) -> None:
        """The guest has given back receive buffers after ``deliver`` could not deal with everything."""

    def counts(self) -> dict[str, int]:
        """What a report says of it, by name."""
