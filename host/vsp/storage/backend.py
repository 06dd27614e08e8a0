"""The disk image as the SCSI layer sees it: bytes at offsets, completed by call-back."""

from collections.abc import Callable, Sequence
from typing import Protocol

Moved = Callable[[int | OSError], None]
"""Receives the number of bytes moved, or why none were; called exactly once, perhaps before the request returns."""


class BlockBackend(Protocol):
    """Storage under one disk. The process shell implements it over a file.

    ``views`` are guest memory itself: the implementation reads into them or writes from them without a copy, and
    after the call-back it never touches them again. It moves everything that can be moved before it calls back, so
    that a count below the one asked for means that the image ends there.
    """

    @property
    def size(self) -> int:
        """Bytes. It may change while attached: the guest then sees a unit attention."""

    @property
    def read_only(self) -> bool:
        """True when the image must not be written."""

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        """Fill ``views`` in order from ``offset``."""

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        """Store ``views`` in order at ``offset``; it may stay in a volatile cache until a flush."""

    def flush(self, done: Moved) -> None:
        """Call back (with 0) once every write that was completed before this call is on stable storage."""
