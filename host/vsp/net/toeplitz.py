"""The hash of receive side scaling (Microsoft, "RSS hashing functions"): linear over bits, so a table per byte."""

from functools import lru_cache
from typing import Final

LONGEST_INPUT: Final = 36
"""Two IPv6 addresses and two ports."""

Tables = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=8)
def tables(key: bytes) -> Tables:
    """What each value of each input byte contributes: ``tables(key)[place][value]``. ``key`` is 40 bytes."""
    bits = int.from_bytes(key.ljust(LONGEST_INPUT + 4, b"\0"), "big")
    length = 8 * max(len(key), LONGEST_INPUT + 4)
    windows = [bits >> (length - 32 - bit) & 0xFFFF_FFFF for bit in range(8 * LONGEST_INPUT)]
    return tuple(_table(windows[8 * place : 8 * place + 8]) for place in range(LONGEST_INPUT))


def _table(windows: list[int]) -> tuple[int, ...]:
    sums = []
    for value in range(256):
        total = 0
        for bit, window in enumerate(windows):
            if value & 0x80 >> bit:
                total ^= window
        sums.append(total)
    return tuple(sums)


def toeplitz(key: bytes, data: bytes) -> int:
    """The 32-bit hash of at most ``LONGEST_INPUT`` bytes: addresses and ports in network order, source first."""
    result = 0
    for table, value in zip(tables(key), data, strict=False):
        result ^= table[value]
    return result
