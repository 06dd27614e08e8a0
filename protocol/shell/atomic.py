"""Locked instructions on guest RAM, for a guest that runs on another processor at the same time."""

from __future__ import annotations

import ctypes
from typing import Final

from protocol.errors import OperatorError

MEMORY_ORDER_SEQ_CST: Final = 5


class AtomicWords:
    """The 64-bit words of a writable view. It keeps the view's memory mapped."""

    def __init__(self, view: memoryview) -> None:
        try:
            self._fetch_or = ctypes.PyDLL("libatomic.so.1").__getattr__("__atomic_fetch_or_8")
        except (OSError, AttributeError):
            raise OperatorError("a real guest needs atomic instructions: install libatomic (libatomic1)") from None
        self._fetch_or.restype = ctypes.c_uint64
        self._fetch_or.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int)
        self._words = len(view) // 8
        self._view = ctypes.c_char.from_buffer(view)
        self._start = ctypes.addressof(self._view)

    def fetch_or(self, index: int, bits: int) -> int:
        """OR ``bits`` into a word at once; what the word was before. IndexError."""
        if not 0 <= index < self._words:
            raise IndexError(f"word {index} of {self._words}")
        before: int = self._fetch_or(self._start + 8 * index, bits, MEMORY_ORDER_SEQ_CST)
        return before
