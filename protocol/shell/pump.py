"""Driving a ZeroMQ socket from an event loop without losing an edge.

``ZMQ_FD`` is edge-triggered, and every send, receive or look at EVENTS may consume the edge. So EVENTS is read again
after every turn, and whoever used the socket outside a turn calls ``kick``. Two of these looks were measured to be
needed (leaving out the one after a blocking call hangs every run); the others cost 0.3 us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

BATCH = 64
"""Messages taken in one turn before the handlers run, so that a flood does not starve them."""
_POLLIN = int(zmq.POLLIN)  # a plain number, for arithmetic on an enumeration costs as much as a system call


def take(socket: zmq.Socket[bytes]) -> bytes | None:
    """The next part of a message, None if there is none."""
    try:
        return socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        return None


def readable(socket: zmq.Socket[bytes]) -> bool:
    """There is a message to take now."""
    events: int = socket.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
    return events & _POLLIN != 0


class Pump:
    """Calls ``receive`` as long as it takes messages, and ``work`` after each batch, until neither has anything left.

    ``receive`` takes one message; False: there was none. In a turn of the loop the first message is worked on at once,
    and what has come behind it is taken together. ``work`` returns True if it stopped with work left over; it is called
    again on the next turn.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        receive: Callable[[], bool],
        work: Callable[[], bool | None],
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
        self._receive()
        left = self._work()
        if readable(self._socket):
            for _ in range(BATCH):
                if not self._receive():
                    break
            self._work()
            left = True
        if left:
            self.kick()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
