"""Guest RAM as one memfd that every process maps."""

import ctypes
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Self

from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE
from protocol.ram import BadPage
from protocol.ring.memory import RingMemory
from protocol.wire.gpadl import GpaRange, pages_of

MAP_FIXED: Final = 0x10

_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


class GuestRam:
    """All of the guest's memory, mapped shared: a child made by fork goes on using it, others attach() to ``fd``.

    ``bytes`` and ``words`` (64 bits each) are views of the whole. Every view handed out keeps its mapping alive, also
    beyond close(), so a late access is never a crash.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._mapping = mmap.mmap(fd, 0)
        self.pages = len(self._mapping) // PAGE_SIZE
        self.bytes = memoryview(self._mapping)[: self.pages * PAGE_SIZE]
        self.words = self.bytes.cast("Q")

    @classmethod
    def create(cls, bytes: int, name: str) -> Self:
        """New memory of ``bytes`` bytes, all zero; ``name`` shows in /proc/PID/maps. OperatorError if not whole pages.

        It is sealed against a change of its size, so that no process can make another one fail on an access.
        """
        if bytes <= 0 or bytes % PAGE_SIZE:
            raise OperatorError(f"guest memory must be a multiple of {PAGE_SIZE} bytes, not {bytes}")
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Memory that somebody else created and whose ``fd`` has come by inheritance or over a socket.

        The caller keeps ``fd``; this works on a copy of it.
        """
        return cls(os.dup(fd))

    def page(self, pfn: int) -> memoryview:
        """One page as bytes. BadPage."""
        start = self._check(pfn) * PAGE_SIZE
        return self.bytes[start : start + PAGE_SIZE]

    def ring(self, pfns: Sequence[int]) -> RingMemory:
        """Map a ring: control page, data pages, and the data pages again, in a row of addresses. BadPage.

        The pages may lie anywhere. One ``mmap`` reserves the addresses, and each run of adjacent pages is laid over its
        part of them by ``mmap(MAP_FIXED)``; the first object owns them all and unmaps them when its last view is gone.
        """
        if len(pfns) < 2:
            raise BadPage(f"a ring needs a control page and at least one data page, not {len(pfns)} pages")
        size = (len(pfns) - 1) * PAGE_SIZE
        region = mmap.mmap(-1, PAGE_SIZE + 2 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        at = ctypes.addressof(ctypes.c_char.from_buffer(region))
        for start, length in self._runs([*pfns, *pfns[1:]]):
            if _mmap(at, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | MAP_FIXED, self.fd, start) != at:
                error = ctypes.get_errno()
                raise OSError(error, f"cannot map the ring: {os.strerror(error)}")
            at += length
        view = memoryview(region)
        return RingMemory(view[:PAGE_SIZE].cast("I"), view[PAGE_SIZE:], size)

    def views(self, gpa_range: GpaRange) -> list[memoryview]:
        """The bytes of ``gpa_range`` in order, one view for each run of adjacent pages. BadPage."""
        left, skip = gpa_range.byte_count, gpa_range.byte_offset
        pages = pages_of(left, skip)
        if skip >= PAGE_SIZE or pages > len(gpa_range.pfns):
            raise BadPage(f"{left} bytes from offset {skip} do not lie in {len(gpa_range.pfns)} pages")
        views: list[memoryview] = []
        for start, length in self._runs(gpa_range.pfns[:pages]):
            taken = min(left, length - skip)
            views.append(self.bytes[start + skip : start + skip + taken])
            left -= taken
            skip = 0
        return views

    def _runs(self, pfns: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The pages as (offset, length) in bytes, adjacent ones merged."""
        start = end = 0
        for pfn in pfns:
            if self._check(pfn) != end and start < end:
                yield start * PAGE_SIZE, (end - start) * PAGE_SIZE
            if pfn != end:
                start = pfn
            end = pfn + 1
        if start < end:
            yield start * PAGE_SIZE, (end - start) * PAGE_SIZE

    def _check(self, pfn: int) -> int:
        if not 0 <= pfn < self.pages:
            raise BadPage(f"page {pfn} in a guest of {self.pages} pages")
        return pfn

    def close(self) -> None:
        """Give up this process's share. What was handed out stays good until it is dropped."""
        self.words.release()
        self.bytes.release()
        with suppress(BufferError):  # views of single pages are still in use and keep the mapping
            self._mapping.close()
        os.close(self.fd)
