"""Posting a control message, and what is done when the hypervisor does not take it (``vmbus_post_msg``)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from guest.arch.hypercall import Hypercalls
from guest.kernel.core import Core
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import VmbusConnectionWords
from protocol.ids import ConnectionId
from protocol.wire.hypercall import Status
from protocol.wire.messages import ControlMessage, InitiateContact, encode
from protocol.wire.versions import Dialect, Version

TRIES = 100
DOUBLINGS = 21
"""The wait doubles from 1 us up to 2**21 us, about two seconds."""

_RETRY: dict[int, int] = {
    Status.INVALID_CONNECTION_ID: errno.EAGAIN,  # what a host answers that is sent messages too fast
    Status.INSUFFICIENT_MEMORY: errno.ENOBUFS,
    Status.INSUFFICIENT_BUFFERS: errno.ENOBUFS,
}


def _waits() -> Iterator[int]:
    """Microseconds to wait after each of the tries."""
    return (1 << min(number, DOUBLINGS) for number in range(TRIES))


class Poster:
    """One CPU's way to the host. Messages go to the connection id that was negotiated, in the agreed dialect.

    ``posted`` counts them by number.
    """

    def __init__(
        self,
        core: Core,
        hypercalls: Hypercalls,
        words: VmbusConnectionWords,
        posted: memoryview,
        printk: Callable[[str], None],
        relax: Callable[[], None],
    ) -> None:
        self._core = core
        self._hypercalls = hypercalls
        self._words = words
        self._posted = posted
        self._printk = printk
        self._relax = relax

    @property
    def dialect(self) -> Dialect:
        """What both sides speak, or, while connecting, what this side has asked for."""
        return Dialect(Version(self._words.version or Version.WIN8))

    async def post(self, message: ControlMessage) -> None:
        """Post from process context; waits between tries without holding up the CPU, where Linux spins up to 1 ms.

        Raises EAGAIN or ENOBUFS when a hundred tries over minutes have failed, EINVAL for any other refusal; an unknown
        connection id is final for INITIATE_CONTACT, because it means "no such version here".
        """
        data = encode(message, self.dialect)
        for wait in _waits():
            error = self._try(message, data)
            if not error:
                return
            await self._core.sleep(wait * 1e-6)
        raise VmbusError(error, f"{message.name} was not taken")

    def post_atomic(self, message: ControlMessage) -> None:
        """Post with interrupts off (``can_sleep`` false): the waits are busy."""
        data = encode(message, self.dialect)
        clock = self._core.clock
        for wait in _waits():
            error = self._try(message, data)
            if not error:
                return
            until = clock.now() + wait * 10
            while clock.now() < until:
                self._relax()
        raise VmbusError(error, f"{message.name} was not taken")

    def _try(self, message: ControlMessage, data: bytes) -> int:
        """0: taken; else the errno if this was the last try. Raises where another try is pointless."""
        status = self._hypercalls.hv_post_message(ConnectionId(self._words.msg_conn_id), data)
        if status == Status.SUCCESS:
            self._posted[message.number] += 1
            return 0
        if status == Status.INVALID_CONNECTION_ID and isinstance(message, InitiateContact):
            raise VmbusError(errno.EINVAL, "the host has no such connection")
        retry = _RETRY.get(status)
        if retry is None:
            self._printk(f"hv_vmbus: hv_post_msg() failed; error code:{status}")
            raise VmbusError(errno.EINVAL, f"{message.name} was refused with status {status:#x}")
        return retry
