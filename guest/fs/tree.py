"""Looking files up by path, reading them, and writing them: open(2) and what follows, for root."""

from __future__ import annotations

import errno
from typing import Final

from guest.fs.node import Directory, File, Link, Node

MAX_LINKS: Final = 40
"""``MAXSYMLINKS``."""
PAGE: Final = 4096
"""What a file takes of one write (``kernfs_fop_write_iter``); the masks of /proc are shorter than that."""


class Tree:
    """A root directory. Every method raises ``OSError`` with the errno of the system call that it stands for."""

    def __init__(self, root: Directory) -> None:
        self._root = root

    def list(self, path: str) -> list[str]:
        """``readdir``: names, without ``.`` and ``..``. ENOTDIR, ENOENT."""
        node = self._find(path)
        if not isinstance(node, Directory):
            raise OSError(errno.ENOTDIR, f"{path} is no directory")
        return list(node.entries())

    def read(self, path: str) -> bytes:
        """All of a file. EISDIR, EACCES (it can only be written), and what its renderer says."""
        node = self._find(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, f"{path} is a directory")
        return node.show().encode()

    def mode(self, path: str) -> int:
        """``st_mode`` of ``lstat``: what a link is, not what it leads to."""
        return self._find(path, follow=False).mode

    def link(self, path: str) -> str:
        """``readlink``. EINVAL: it is no link."""
        node = self._find(path, follow=False)
        if not isinstance(node, Link):
            raise OSError(errno.EINVAL, f"{path} is no link")
        return node.target

    async def write(self, path: str, data: bytes) -> int:
        """Open for writing, and one ``write(2)``: the number that it returns.

        Root may open any file of /proc; without a write operation it then gets EIO (``proc_reg_write``). sysfs holds
        even root to the permissions (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK, EACCES), takes one page at the
        most, and keeps an empty write to itself. Bytes stand for characters 0 to 255.
        """
        node = self._find(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, f"{path} is a directory")
        sysfs = path.startswith("/sys/")
        if node.store is None:
            raise OSError(errno.EACCES if sysfs else errno.EIO, f"{path} cannot be written")
        if sysfs and not data:
            return 0
        return await node.store(data[:PAGE].decode("latin-1"))

    def _find(self, path: str, *, follow: bool = True) -> Node:
        """``namei``: from the root, links in the middle always followed, at the end if ``follow``."""
        if not path.startswith("/"):
            raise OSError(errno.ENOENT, f"{path} does not begin at the root")
        names, links = path.split("/")[::-1], 0
        trail: list[Node] = [self._root]
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                del trail[max(1, len(trail) - 1) :]
                continue
            here = trail[-1]
            if not isinstance(here, Directory):
                raise OSError(errno.ENOTDIR, f"{path} leads through a file")
            node = here.entries().get(name)
            if node is None:
                raise OSError(errno.ENOENT, f"there is no {path}")
            if isinstance(node, Link) and (follow or any(names)):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, f"{path} has too many links")
                if node.target.startswith("/"):
                    del trail[1:]
                names += node.target.split("/")[::-1]
            else:
                trail.append(node)
        return trail[-1]
