"""A raw disk image as a block backend: ``preadv``/``pwritev`` on a few threads, straight from and to guest memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from host.vsp.storage.backend import Moved
from protocol.errors import OperatorError

SECTOR = 512
IOV_MAX = 1024
THREADS = 4


class ImageFile:
    """An open image. ``post`` runs a function in the host's loop, from any thread.

    It is closed when nobody has it any more: a disk that is pulled out may have requests under way.
    """

    def __init__(self, path: str, writable: bool, post: Callable[[Callable[[], None]], None]) -> None:
        """Raises ``OperatorError`` if the image cannot be used."""
        self.path = path
        self.read_only = not writable
        self._post = post
        try:
            self._fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError as error:
            raise OperatorError(f"cannot open the disk image {path}: {error.strerror}") from None
        weakref.finalize(self, os.close, self._fd)
        if not Path(path).is_file():
            raise OperatorError(f"the disk image {path} is not a regular file")
        self.size = os.fstat(self._fd).st_size
        if self.size == 0 or self.size % SECTOR:
            raise OperatorError(f"the disk image {path} has {self.size} bytes: it must be a multiple of {SECTOR}")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="disk")

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        self._submit(lambda: self._move(os.preadv, offset, views), done)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        self._submit(lambda: self._move(os.pwritev, offset, views), done)

    def flush(self, done: Moved) -> None:
        def sync() -> int:
            os.fdatasync(self._fd)
            return 0

        self._submit(sync, done)

    def _submit(self, work: Callable[[], int], done: Moved) -> None:
        def run() -> None:
            result: int | OSError
            try:
                result = work()
            except OSError as error:
                result = error
            self._post(lambda: done(result))

        self._pool.submit(run)

    def _move(
        self, call: Callable[[int, Sequence[memoryview], int], int], offset: int, views: Sequence[memoryview]
    ) -> int:
        """Move all that can be moved: one call may do less than it was asked for."""
        left = [view for view in views if len(view)]
        moved = 0
        while left:
            count = call(self._fd, left[:IOV_MAX], offset + moved)
            if count <= 0:
                break
            moved += count
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if count:
                left[0] = left[0][count:]
        return moved
