"""The mailbox between the shim and the bridge: one per VP, 64-bit words in guest RAM.

The shim writes a request, rings the doorbell and spins; the bridge writes the answer, the state last. Each word has one
writer at a time, so plain stores in program order are enough on x86-64.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from guest.linux import layout
from protocol.ids import VpIndex
from protocol.ram import Ram


class State(IntEnum):
    IDLE = 0
    REQUEST = 1
    ANSWER = 2


class Kind(IntEnum):
    """Why the guest has stopped; the arguments."""

    STARTED = 0  # the shim runs, the guest not yet
    MSR_READ = 1  # number
    MSR_WRITE = 2  # number, value
    HYPERCALL = 3  # RCX, RDX, R8
    SHUTDOWN = 4  # RIP: a triple fault
    UNEXPECTED = 5  # exit code, two words of information: a bug of the shim


STATE, KIND, ARGUMENTS, TSC, RESULT, FAULT = 0, 1, 2, 5, 6, 7
"""Words of the mailbox."""
WORDS: Final = 8


class Request(NamedTuple):
    """A stopped VP. ``tsc`` is the guest's time-stamp counter at that moment."""

    kind: Kind
    a: int
    b: int
    c: int
    tsc: int


class Mailbox:
    """The bridge's end."""

    def __init__(self, ram: Ram, vp: VpIndex) -> None:
        start = (layout.vp_block(vp) + layout.MAILBOX) // 8
        self._words = ram.words[start : start + WORDS]

    def take(self) -> Request | None:
        """The request that waits for an answer, if there is one."""
        words = self._words
        if words[STATE] != State.REQUEST:
            return None
        return Request(Kind(words[KIND]), *words[ARGUMENTS:RESULT])

    def answer(self, result: int = 0, fault: bool = False) -> None:
        """Let the VP go on; with ``fault``, by a general-protection exception."""
        words = self._words
        words[RESULT] = result
        words[FAULT] = fault
        words[STATE] = State.ANSWER
