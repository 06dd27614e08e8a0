"""The files of a running guest: read from outside without stopping anybody, written by one of its CPUs."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from guest.fs.node import Directory
from guest.fs.tree import Tree
from lab.failure import VmFailure
from protocol.errors import ExitCode, OperatorError

Ask = Callable[[int, str, bytes], Awaitable[int]]
"""Have a CPU write: (cpu, path, data) to what write(2) returned, a negative errno included."""


class Files(Tree):
    """``list``, ``read``, ``mode``, ``link`` and ``write``: all that a mounted file system would need."""

    def __init__(self, root: Directory, ask: Ask) -> None:
        super().__init__(root)
        self._ask = ask

    async def write(self, path: str, data: bytes, cpu: int = 0) -> int:
        """What write(2) returns to a process on ``cpu``, which serves interrupts meanwhile. Raises ``OSError``."""
        result = await self._ask(cpu, path, data)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result


def in_words(error: OSError) -> str:
    """``Invalid argument (EINVAL)``."""
    number = error.errno or errno.EIO
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"


@contextmanager
def looking_at(path: str) -> Iterator[None]:
    """What reading meets, in the words of the command line: ``OperatorError`` for a path that there is not."""
    try:
        yield
    except FileNotFoundError:
        raise OperatorError(f"{path} is not in this VM: './launch.sh ls' shows what is") from None
    except OSError as error:
        raise VmFailure(ExitCode.CHECK_FAILED, f"{path}: {in_words(error)}") from None
