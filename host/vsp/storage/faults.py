"""A back end that lies in one bit, to prove that a test of data integrity can fail."""

from collections.abc import Sequence

from host.vsp.storage.backend import BlockBackend, Moved


class FlippedByte:
    """Reads of ``backend`` with all bits of the byte at ``offset`` inverted; the image itself is left alone."""

    def __init__(self, backend: BlockBackend, offset: int) -> None:
        self._backend = backend
        self._offset = offset

    @property
    def size(self) -> int:
        return self._backend.size

    @property
    def read_only(self) -> bool:
        return self._backend.read_only

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def flip(moved: int | OSError) -> None:
            if not isinstance(moved, OSError) and 0 <= self._offset - offset < moved:
                self._flip(self._offset - offset, views)
            done(moved)

        self._backend.read(offset, views, flip)

    @staticmethod
    def _flip(index: int, views: Sequence[memoryview]) -> None:
        for view in views:
            if index < len(view):
                view[index] ^= 0xFF
                return
            index -= len(view)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        self._backend.write(offset, views, done)

    def flush(self, done: Moved) -> None:
        self._backend.flush(done)
