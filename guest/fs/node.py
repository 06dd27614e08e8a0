"""What a tree of files is made of. A node renders itself from kernel memory each time it is asked."""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Show: TypeAlias = Callable[[], str]
"""The text of a file. Raises ``OSError`` with the errno that ``read(2)`` gives."""

Store: TypeAlias = Callable[[str], Awaitable[int]]
"""What ``write(2)`` of that text returns, done by a CPU in process context. Raises ``OSError`` with its errno."""


@dataclass(frozen=True, slots=True)
class File:
    """A file. ``store`` is None if it cannot be written, or if nobody is there who could: a tree outside the guest."""

    permissions: int
    show: Show
    store: Store | None = None

    @property
    def mode(self) -> int:
        return stat.S_IFREG | self.permissions


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str

    @property
    def mode(self) -> int:
        return stat.S_IFLNK | 0o777


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory: ``entries`` is called for each look, so that what comes and goes does so by itself."""

    entries: Callable[[], Mapping[str, Node]]
    permissions: int = 0o755

    @property
    def mode(self) -> int:
        return stat.S_IFDIR | self.permissions

    @classmethod
    def of(cls, entries: Mapping[str, Node], permissions: int = 0o755) -> Directory:
        """One whose entries are always the same."""
        return cls(lambda: entries, permissions)


Node: TypeAlias = File | Link | Directory


def unreadable() -> str:
    """The content of a file that can only be written."""
    raise OSError(errno.EACCES, "the file can only be written")
