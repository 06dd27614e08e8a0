"""The pools of the key-value daemon (its files in /var/lib/hyperv), as words that any CPU can read."""

from __future__ import annotations

from typing import Final

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Text, Word

PLACES: Final = 16
"""Pairs in all pools together; the daemon's files have no such limit."""
KEY_BYTES: Final = 256
VALUE_BYTES: Final = 512


class KvpPair(Struct):
    """``struct kvp_record``. ``pool`` is one more than the pool's number; 0: the place is free."""

    pool = Word("channel callback")
    key = Text(KEY_BYTES, "channel callback")
    value = Text(VALUE_BYTES, "channel callback")


class Pairs:
    """One CPU's view; one callback of the channel runs at a time."""

    def __init__(self, core: Core) -> None:
        self._pairs = core.memory.table(KvpPair, PLACES)

    def of(self, pool: int) -> dict[str, str]:
        """The pairs of a pool, oldest place first."""
        return {pair.key: pair.value for pair in self._pairs if pair.pool == pool + 1}

    def put(self, pool: int, key: str, value: str) -> bool:
        """Add a pair or change it. False: there is no room, or the text is too long."""
        if len(key.encode()) >= KEY_BYTES or len(value.encode()) >= VALUE_BYTES:
            return False
        place = self._find(pool, key) or next((pair for pair in self._pairs if not pair.pool), None)
        if place is None:
            return False
        place.key, place.value, place.pool = key, value, pool + 1
        return True

    def remove(self, pool: int, key: str) -> bool:
        """False: there is no such key."""
        place = self._find(pool, key)
        if place is not None:
            place.pool = 0
        return place is not None

    def _find(self, pool: int, key: str) -> KvpPair | None:
        return next((pair for pair in self._pairs if pair.pool == pool + 1 and pair.key == key), None)
