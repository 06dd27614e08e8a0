"""A buffer that the guest shares by a GPADL: its pages are scattered, its offsets are not."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from protocol.ram import Ram
from protocol.wire.gpadl import GpaRange


class SharedBuffer:
    """``size`` bytes of guest memory. Offsets and lengths that the guest has a say in are checked by the caller."""

    def __init__(self, ram: Ram, ranges: Iterable[GpaRange]) -> None:
        self.size = 0
        self._views: list[memoryview] = []
        self._starts: list[int] = []
        for gpa_range in ranges:
            for view in ram.views(gpa_range):
                self._starts.append(self.size)
                self._views.append(view)
                self.size += len(view)

    def read(self, offset: int, length: int) -> bytes:
        """A copy, which the guest cannot change while it is looked at."""
        return b"".join(self._pieces(offset, length))

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data`` at ``offset``."""
        for piece in self._pieces(offset, len(data)):
            piece[:] = data[: len(piece)]
            data = data[len(piece) :]

    def _pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        place = bisect_right(self._starts, offset) - 1
        offset -= self._starts[place]
        while length:
            piece = self._views[place][offset : offset + length]
            yield piece
            length -= len(piece)
            place, offset = place + 1, 0
