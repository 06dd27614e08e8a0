"""A serial port of the guest: what it has printed is kept, what is typed goes to it."""

from __future__ import annotations

import asyncio
import socket


class SerialPort:
    """One end of a socket whose other end is QEMU's character device."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._printed = bytearray()
        self._readers: set[asyncio.Future[None]] = set()
        loop.add_reader(self._ours.fileno(), self._readable)

    @property
    def fd(self) -> int:
        """QEMU's end."""
        return self._theirs.fileno()

    def hand_over(self) -> None:
        """QEMU has its end."""
        self._theirs.close()

    def _readable(self) -> None:
        data = self._ours.recv(65536)
        if not data:
            self._loop.remove_reader(self._ours.fileno())
        self._printed += data
        for reader in self._readers:
            reader.set_result(None)
        self._readers.clear()

    async def read(self, since: int) -> bytes:
        """Everything printed after the first ``since`` bytes; waits until there is something."""
        while len(self._printed) <= since:
            reader = self._loop.create_future()
            self._readers.add(reader)
            await reader
        return bytes(self._printed[since:])

    async def write(self, data: bytes) -> None:
        """Type. Returns when QEMU has taken it all."""
        await self._loop.sock_sendall(self._ours, data)
