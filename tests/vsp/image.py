"""A disk image in memory."""

from collections.abc import Callable, Sequence

from host.vsp.storage.backend import Moved

SECTORS = 128


class Image:
    """A back end that answers at once, or fails with ``failure``; with ``slow`` it keeps requests until ``work``."""

    def __init__(self, data: bytes, *, read_only: bool = False, slow: bool = False) -> None:
        self.data = bytearray(data)
        self.size = len(data)
        self.read_only = read_only
        self.slow = slow
        self.failure: OSError | None = None
        self.flushes = 0
        self.waiting: list[Callable[[], None]] = []

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def run() -> int:
            position = offset
            for view in views:
                piece = self.data[position : position + len(view)]
                view[: len(piece)] = piece
                position += len(piece)
            return position - offset

        self._start(run, done)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def run() -> int:
            data = b"".join(views)
            self.data[offset : offset + len(data)] = data
            return len(data)

        self._start(run, done)

    def flush(self, done: Moved) -> None:
        self.flushes += 1
        self._start(lambda: 0, done)

    def work(self, count: int | None = None) -> None:
        """Carry out what waits, or the first ``count`` requests of it."""
        end = len(self.waiting) if count is None else count
        now, self.waiting = self.waiting[:end], self.waiting[end:]
        for request in now:
            request()

    def _start(self, run: Callable[[], int], done: Moved) -> None:
        def request() -> None:
            done(self.failure or run())

        if self.slow:
            self.waiting.append(request)
        else:
            request()


def blank(*, read_only: bool = False, slow: bool = False) -> Image:
    """SECTORS sectors of 512 zeros."""
    return Image(bytes(SECTORS * 512), read_only=read_only, slow=slow)
