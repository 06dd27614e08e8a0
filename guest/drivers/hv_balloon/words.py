"""What hv_balloon keeps: for the device (``struct hv_dynmem_device``), and which pages it has given away."""

from __future__ import annotations

from enum import IntEnum

from guest.drivers.conversation import ConversationWords
from guest.kernel.core import Core
from guest.kernel.memory import Array, Struct, Word
from protocol.wire.dynmem import PageRange


class DmState(IntEnum):
    """``enum hv_dm_state``."""

    INITIALIZING = 0
    INITIALIZED = 1
    BALLOON_UP = 2
    BALLOON_DOWN = 3
    INIT_ERROR = 4


class BalloonWords(ConversationWords):
    """``dm_device``. The wait queue is ``host_event`` and ``config_event``."""

    state = Word("probing CPU; channel callback; who moves pages")
    host_events = Word("probing CPU before it asks, channel callback after")
    version = Word("probing CPU; channel callback")
    next_version = Word("probing CPU; channel callback")
    """Place in the list of versions of the one to be tried next; one behind the list: none is left."""
    trans_id = Word("whoever sends")
    """Of the newest message. Two senders may use one number, which no host minds: it does not answer by it."""
    num_pages_ballooned = Word("who moves pages")
    balloons = Word("who moves pages")
    unballoons = Word("who moves pages")
    max_pages = Word("channel callback")
    """Of the host's INFO message."""
    status_reports = Word("hv_balloon thread")
    should_stop = Word("removing CPU")
    stopped = Word("hv_balloon thread")


def next_trans_id(words: BalloonWords) -> int:
    """``atomic_inc_return(&trans_id)``: 32 bits."""
    words.trans_id = (words.trans_id + 1) & 0xFFFF_FFFF
    return words.trans_id


class Ballooned:
    """A bit for each page of RAM: the host has it. One transaction at a time touches it."""

    def __init__(self, core: Core) -> None:
        class BalloonedPages(Struct):
            """A bit for each frame."""

            bits = Array((core.ram.pages + 63) // 64, "who moves pages")

        self._bits = core.memory.one(BalloonedPages).bits
        self._pages = core.ram.pages

    def add(self, given: PageRange) -> None:
        self._store(self._load() | _mask(given))

    def remove(self, back: PageRange) -> bool:
        """False: the host does not have all of these pages."""
        bits, mask = self._load(), _mask(back)
        if not back.pages or back.first + back.pages > self._pages or bits & mask != mask:
            return False
        self._store(bits & ~mask)
        return True

    def _load(self) -> int:
        return int.from_bytes(self._bits.tobytes(), "little")

    def _store(self, bits: int) -> None:
        self._bits[:] = memoryview(bits.to_bytes(len(self._bits) * 8, "little")).cast("Q")


def _mask(pages: PageRange) -> int:
    return ((1 << pages.pages) - 1) << pages.first
