"""The spin locks of the real processes: they exclude, and a VM that is killed while it makes them leaves nothing."""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Callable

from guest.process.locks import InheritedLocks

TIMES = 20_000


def in_a_child(do: Callable[[], None]) -> int:
    """Run it in a forked process; its exit code."""
    pid = os.fork()
    if not pid:
        try:
            do()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_they_are_made_without_any_file_so_that_none_can_be_left() -> None:
    """A named semaphore is a file in /dev/shm that somebody would have to unlink."""

    def make() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        lock = InheritedLocks(["desc"]).raw("desc/0")
        lock.acquire()
        lock.release()

    assert in_a_child(make) == 0


def test_a_process_that_has_inherited_one_is_kept_out_by_it() -> None:
    lock = InheritedLocks(["desc"]).raw("desc/3")
    counter = memoryview(mmap.mmap(-1, 8)).cast("Q")

    def count() -> None:
        for _ in range(TIMES):
            lock.acquire()
            counter[0] += 1
            lock.release()

    pid = os.fork()
    if not pid:
        count()
        os._exit(0)
    count()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert counter[0] == 2 * TIMES
