"""Messages to the host whose answer somebody waits for (``vmbus_connection.chn_msg_list``).

Any CPU may ask; the answers come to the connect CPU. So the list is in kernel memory and its completions wake across
CPUs.
"""

from __future__ import annotations

import errno

from guest.kernel.core import Core
from guest.kernel.memory import Table
from guest.kernel.wait import Completion
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import MsgInfoWords, VmbusConnectionWords
from protocol.ids import GpadlId
from protocol.wire.messages import ControlMessage

Kind = type[ControlMessage]


class Request:
    """One entry: ``struct vmbus_channel_msginfo`` with its ``waitevent``."""

    __slots__ = ("waitevent", "words")

    def __init__(self, core: Core, words: MsgInfoWords) -> None:
        self.words = words
        self.waitevent: Completion = core.completion(words)


class ChannelRequests:
    """One CPU's view of the list."""

    def __init__(self, core: Core, table: Table[MsgInfoWords], connection: VmbusConnectionWords) -> None:
        self._connection = connection
        self._requests = [Request(core, words) for words in table]
        self._lock = core.locks.irqsave("channelmsg_lock")

    def add(self, kind: Kind, relid: int = 0, id: int = 0) -> Request:
        """Before the message is posted, for the answer may be there before the post returns. Raises ENOMEM."""
        with self._lock:
            for request in self._requests:
                words = request.words
                if not words.number:
                    words.number, words.relid, words.id = kind.number, relid, id
                    words.status = words.value = words.done = 0
                    return request
        raise VmbusError(errno.ENOMEM, "too many requests to the host are waiting")

    def remove(self, request: Request) -> None:
        with self._lock:
            request.words.number = 0

    def next_gpadl_handle(self) -> GpadlId:
        """A handle that this guest has not used before, counted up from 0xE1E10."""
        with self._lock:
            handle = self._connection.next_gpadl_handle
            self._connection.next_gpadl_handle = handle + 1
        return GpadlId(handle)

    def answer(self, kind: Kind, relid: int | None, id: int, status: int, value: int = 0) -> bool:
        """The host answered a request of this kind (GPADL_TORNDOWN names no channel). False: nobody had asked."""
        with self._lock:
            found = next(
                (
                    request
                    for request in self._requests
                    if request.words.number == kind.number
                    and request.words.id == id
                    and relid in (None, request.words.relid)
                ),
                None,
            )
            if found is not None:
                found.words.status, found.words.value = status, value
        if found is None:
            return False
        found.waitevent.complete()
        return True

    def wake_waiting(self, relid: int) -> None:
        """``vmbus_rescind_cleanup``: whoever waits for an answer about this channel looks at ``rescind`` instead."""
        with self._lock:
            found = next((r for r in self._requests if r.words.number and r.words.relid == relid), None)
        if found is not None:
            found.waitevent.complete()
