"""The full fence that lock-free sharing of memory needs between a store and a load.

Without it the processor lets the load overtake the store, and two processes can each miss what the other has just
written: in a ring, a wake-up that never comes. Plain Python shows this on x86-64, at a rate of one in a thousand.
"""

import ctypes
import platform
from functools import partial
from threading import Lock
from typing import Final

from protocol.errors import OperatorError
from protocol.ring.memory import Fence

MEMORY_ORDER_SEQ_CST: Final = 5


def libatomic_fence() -> Fence | None:
    """C11's ``atomic_thread_fence(memory_order_seq_cst)`` as libatomic exports it, about 90 ns; None without libatomic.

    PyDLL keeps the GIL over the call: to give it up for one instruction would double the cost.
    """
    try:
        fence = ctypes.PyDLL("libatomic.so.1").atomic_thread_fence
    except (OSError, AttributeError):
        return None
    fence.restype = None
    return partial(fence, MEMORY_ORDER_SEQ_CST)


def lock_fence() -> Fence | None:
    """An uncontended lock taken and given back: on x86-64 that is a locked instruction, and so a full fence.

    On other machines taking a lock orders only one way: None.
    """
    if platform.machine() != "x86_64":
        return None
    lock = Lock()

    def fence() -> None:
        lock.acquire()
        lock.release()

    return fence


def choose_fence() -> Fence:
    """The best fence that this machine has. OperatorError if it has none."""
    fence = libatomic_fence() or lock_fence()
    if fence is None:
        raise OperatorError(f"no memory fence on {platform.machine()}: install libatomic (libatomic1)")
    return fence


full_fence: Final[Fence] = choose_fence()
