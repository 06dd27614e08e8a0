"""The guest pages of one request."""

from collections.abc import Sequence


class GuestBuffer:
    """Guest memory as a sequence of views, and the direction that the SRB gives for it.

    The views are the guest's pages themselves, which the guest may change at any time: nothing is read twice.
    """

    __slots__ = ("length", "to_guest", "views")

    def __init__(self, views: Sequence[memoryview] = (), *, to_guest: bool = True) -> None:
        self.views = views
        self.to_guest = to_guest
        self.length = sum(map(len, views))

    def first(self, count: int) -> list[memoryview]:
        """Views of the first ``count`` bytes; there must be as many."""
        taken = []
        for view in self.views:
            if count <= 0:
                break
            taken.append(view[:count])
            count -= len(view)
        return taken

    def fill(self, data: bytes) -> int:
        """Copy as much of ``data`` as fits; how many bytes that was."""
        position = 0
        for view in self.first(min(len(data), self.length)):
            view[:] = data[position : position + len(view)]
            position += len(view)
        return position
