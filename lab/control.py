"""The client's end of a process's control socket."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from lab.failure import VmFailure
from protocol.errors import ExitCode, OperatorError


class ControlClient:
    """Requests to one process; several may wait for their answers at a time."""

    def __init__(self, context: zmq.asyncio.Context, address: str) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(address)
        self._number = 0
        self._answers: dict[int, tuple[bool, Any] | None] = {}
        self._reading = asyncio.Lock()

    async def request(self, verb: str, /, **arguments: Any) -> Any:
        """Ask, and return the answer. Raises ``OperatorError`` or ``VmFailure`` if it is a refusal."""
        self._number = number = self._number + 1
        try:
            question = msgpack.packb([number, verb, arguments])
        except (TypeError, ValueError, OverflowError) as error:  # a date of TOML, a file name that is no text, 2 ** 64
            raise OperatorError(f"{verb}: {error}") from None
        self._answers[number] = None
        try:
            await self._socket.send(question)
            while (answer := self._answers[number]) is None:
                async with self._reading:
                    if self._answers[number] is None:
                        await self._read()
        finally:
            del self._answers[number]
        accepted, value = answer
        if accepted:
            return value
        code, line = value
        if code == ExitCode.OPERATOR:
            raise OperatorError(line)
        raise VmFailure(ExitCode(code), line)

    async def _read(self) -> None:
        """Take the next answer, whoever waits for it; nobody does if the request was given up."""
        number, accepted, value = msgpack.unpackb(await self._socket.recv(), strict_map_key=False)
        if number in self._answers:
            self._answers[number] = accepted, value

    def close(self) -> None:
        self._socket.close()
