"""Page frames of guest RAM: one pool per CPU, freed back to the pool they came from, whoever frees them.

Rings need page runs, so ``allocate`` gives contiguous frames; that also keeps the double mapping of a ring cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from guest.kernel.locks import IrqSpinLock
from guest.kernel.memory import Array, Struct
from protocol.ids import Cpu, Pfn

if TYPE_CHECKING:
    from guest.kernel.core import Core


class OutOfPages(Exception):
    """``-ENOMEM``: no run of that many frames is free on any CPU."""


class PageAllocator:
    """One CPU's view of all pools.

    ``bitmaps[c]`` are the words of CPU c's pool (bit set = taken), guarded by ``locks[c]``. Frame 0 is never handed
    out, so that 0 can mean "no page" in registers.
    """

    def __init__(self, cpu: Cpu, bitmaps: list[memoryview], locks: list[IrqSpinLock], pages: int) -> None:
        self._cpu = cpu
        self._bitmaps = bitmaps
        self._locks = locks
        self._per_pool = (pages - 1) // len(bitmaps)

    @classmethod
    def of(cls, core: Core) -> Self:
        """That of a CPU, with the pools in kernel memory."""

        class Pool(Struct):
            """Taken frames of one CPU's pool."""

            taken = Array(cls.words(core.ram.pages, core.cpus), "page lock")

        pools = core.memory.table(Pool, core.cpus)
        locks = [core.locks.irqsave("pages", number) for number in range(core.cpus)]
        return cls(core.cpu, [pool.taken for pool in pools], locks, core.ram.pages)

    @staticmethod
    def words(pages: int, cpus: int) -> int:
        """Words of bitmap that each pool needs."""
        return ((pages - 1) // cpus + 63) // 64

    def allocate(self, count: int = 1) -> Pfn:
        """The first of ``count`` contiguous frames, from this CPU's pool if it has them. Raises ``OutOfPages``."""
        assert count > 0, f"{count} pages are no run"
        pools = len(self._bitmaps)
        for step in range(pools):
            pool = (self._cpu + step) % pools
            start = self._take(pool, count)
            if start is not None:
                return Pfn(1 + pool * self._per_pool + start)
        raise OutOfPages(f"the guest's memory is full: no {count} contiguous pages are free")

    def _take(self, pool: int, count: int) -> int | None:
        bitmap = self._bitmaps[pool]
        with self._locks[pool]:
            taken = int.from_bytes(bitmap.tobytes(), "little")
            run = ~taken & ((1 << self._per_pool) - 1)
            have = 1
            while have < count and run:
                step = min(have, count - have)
                run &= run >> step
                have += step
            if not run:
                return None
            start = (run & -run).bit_length() - 1
            self._store(bitmap, taken | ((1 << count) - 1) << start)
            return start

    def free(self, first: Pfn, count: int = 1) -> None:
        """Give ``count`` frames back to the pool that they came from."""
        pool, start = divmod(first - 1, self._per_pool)
        assert count > 0 and 0 <= pool < len(self._bitmaps), f"frames {first} + {count} were never handed out"
        bitmap = self._bitmaps[pool]
        mask = ((1 << count) - 1) << start
        with self._locks[pool]:
            taken = int.from_bytes(bitmap.tobytes(), "little")
            assert taken & mask == mask, f"double free of frame {first}"
            self._store(bitmap, taken & ~mask)

    def check(self, first: Pfn, count: int) -> None:
        """Raises ``ValueError`` unless all of these frames are handed out."""
        pool, start = divmod(first - 1, self._per_pool)
        if count > 0 and 0 <= pool < len(self._bitmaps):
            mask = ((1 << count) - 1) << start
            if int.from_bytes(self._bitmaps[pool].tobytes(), "little") & mask == mask:
                return
        raise ValueError(f"frames {first} + {count} are not allocated")

    @staticmethod
    def _store(bitmap: memoryview, taken: int) -> None:
        bitmap[:] = memoryview(taken.to_bytes(len(bitmap) * 8, "little")).cast("Q")

    def free_pages(self) -> int:
        """Frames that are free on all CPUs together."""
        taken = sum(int.from_bytes(b.tobytes(), "little").bit_count() for b in self._bitmaps)
        return self._per_pool * len(self._bitmaps) - taken
