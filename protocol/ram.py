"""Guest RAM as everybody but the process shells sees it: pages by page frame number, and rings made of them."""

from collections.abc import Sequence
from typing import Protocol

from protocol.errors import PeerError
from protocol.ring.memory import RingMemory
from protocol.wire.gpadl import GpaRange


class BadPage(PeerError):
    """A page frame number, or a range of guest memory, that the guest does not have."""


class Ram(Protocol):
    """All of the guest's memory. Page frame numbers come from the peer, so each operation checks them: BadPage."""

    @property
    def pages(self) -> int:
        """Number of pages; the page frame numbers are 0 .. pages - 1."""

    @property
    def bytes(self) -> memoryview:
        """All of it as bytes."""

    @property
    def words(self) -> memoryview:
        """All of it as 64-bit words, whose loads and stores are never torn."""

    def page(self, pfn: int) -> memoryview:
        """One page as bytes."""

    def ring(self, pfns: Sequence[int]) -> RingMemory:
        """The ring whose control page is the first of ``pfns`` and whose data area is the others, in this order."""

    def views(self, gpa_range: GpaRange) -> list[memoryview]:
        """The bytes of ``gpa_range`` in order, one view for each run of adjacent pages."""
