"""Which pages the guest has given away."""

from itertools import pairwise

from protocol.errors import PeerError
from protocol.wire.dynmem import PageRange


class Ledger:
    """Disjoint ranges of frames in the order in which they came. ``pages`` is how many there are."""

    def __init__(self) -> None:
        self.pages = 0
        self._ranges: list[PageRange] = []

    def add(self, given: tuple[PageRange, ...], guest_pages: int) -> None:
        """Take all of these ranges, or none: raises PeerError for what the guest does not have or has given before."""
        taken = sorted((*self._ranges, *given))
        for one, other in pairwise(taken):
            if one.first + one.pages > other.first:
                raise PeerError(f"balloon: frame {other.first} is given away twice")
        for first, pages in given:
            if not pages or not first or first + pages > guest_pages:
                raise PeerError(f"balloon: {pages} frames at {first}, and the guest has {guest_pages}")
        self._ranges.extend(given)
        self.pages += sum(each.pages for each in given)

    def take(self, pages: int) -> list[PageRange]:
        """So many pages, the newest first; fewer if there are fewer."""
        taken: list[PageRange] = []
        while pages and self._ranges:
            first, count = self._ranges.pop()
            part = min(pages, count)
            if part < count:
                self._ranges.append(PageRange(first, count - part))
            taken.append(PageRange(first + count - part, part))
            pages -= part
            self.pages -= part
        return taken

    def clear(self) -> None:
        self.pages = 0
        self._ranges.clear()
