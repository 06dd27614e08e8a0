"""The control socket of a process: requests ``[id, verb, arguments]``, replies ``[id, ok, value]``.

It carries what an operator asks (start a program, take a snapshot, inject a fault), never anything of VMBus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from inspect import signature
from typing import Any

import msgpack
import zmq

from protocol.errors import ExitCode
from protocol.shell.child import explain
from protocol.shell.pump import Pump

Verb = Callable[..., Any]
"""Takes the arguments by name; returns plain data, or something to await for it."""


class ControlServer:
    """Answers requests with the verbs it is given. A failing verb is answered, it does not end the process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        verbs: Mapping[str, Verb],
        after: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._verbs = verbs
        self._after = after
        self._running: set[asyncio.Task[None]] = set()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(address)
        self._pump = Pump(loop, self._socket, self._receive, lambda: False)

    def _receive(self) -> bool:
        try:
            client, *_, body = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._handle(client, body)
        return True

    def _handle(self, client: bytes, body: bytes) -> None:
        number = 0
        try:
            number, verb, arguments = msgpack.unpackb(body)
            handler = self._verbs[verb]
            signature(handler).bind(**arguments)
        except Exception as error:
            self._reply(client, number, False, [int(ExitCode.OPERATOR), f"not a request: {error!r}"])
            return
        try:
            value = handler(**arguments)
        except Exception as error:
            self._refuse(client, number, error)
        else:
            if isinstance(value, Awaitable):
                task = self._loop.create_task(self._await(client, number, value))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            else:
                self._reply(client, number, True, value)
        self._after()

    async def _await(self, client: bytes, number: int, value: Awaitable[Any]) -> None:
        try:
            self._reply(client, number, True, await value)
        except Exception as error:
            self._refuse(client, number, error)

    def _refuse(self, client: bytes, number: int, error: Exception) -> None:
        code, line = explain(error)
        self._reply(client, number, False, [int(code), line])

    def _reply(self, client: bytes, number: int, ok: bool, value: Any) -> None:
        self._socket.send_multipart([client, msgpack.packb([number, ok, value])], zmq.NOBLOCK)
        self._pump.kick()

    def close(self) -> None:
        self._pump.close()
        self._socket.close()
