"""The client's end of a process's control socket."""

from __future__ import annotations

from typing import Any

import msgpack
import zmq
import zmq.asyncio

from lab.failure import VmFailure
from protocol.errors import ExitCode, OperatorError


class ControlClient:
    """Requests to one process, one at a time."""

    def __init__(self, context: zmq.asyncio.Context, address: str) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(address)
        self._number = 0

    async def request(self, verb: str, **arguments: Any) -> Any:
        """Ask, and return the answer. Raises ``OperatorError`` or ``VmFailure`` if it is a refusal."""
        self._number += 1
        await self._socket.send(msgpack.packb([self._number, verb, arguments]))
        while True:
            number, ok, value = msgpack.unpackb(await self._socket.recv(), strict_map_key=False)
            if number == self._number:
                break
        if ok:
            return value
        code, line = value
        if code == ExitCode.OPERATOR:
            raise OperatorError(line)
        raise VmFailure(ExitCode(code), line)

    def close(self) -> None:
        self._socket.close()
