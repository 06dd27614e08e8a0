"""A VM of real processes under a supervisor, whatever its guest is: its life, and the way to its processes.

The VM is a supervisor with its own session, so a Ctrl-C at the terminal reaches only whoever started it; the life pipe
ties the VM to this process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

import zmq.asyncio

from lab import rundir
from lab.control import ControlClient
from lab.failure import VmFailure
from lab.spec import VmSpec
from protocol.errors import ExitCode

T = TypeVar("T")


class SupervisedVm:
    """``async with``: started, and nothing left behind. Every method raises ``VmFailure`` if the VM ends meanwhile."""

    def __init__(self, spec: VmSpec) -> None:
        self.spec = spec
        self._context = zmq.asyncio.Context()
        self._clients: dict[str, ControlClient] = {}
        self._connections: list[ControlClient] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lab.supervisor",
            self.spec.to_json(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._started = asyncio.Event()
        self.ended: asyncio.Task[tuple[ExitCode, str]] = asyncio.create_task(self._listen())
        try:
            await self.guard(self._started.wait())
            self._attach()
        except BaseException:
            code, line = await self.stop()
            if code:
                raise VmFailure(code, line) from None
            raise
        return self

    def _attach(self) -> None:
        """The VM has started: find the way to its processes. Raises ``OperatorError`` if it has ended already."""
        self.info = rundir.find(self.spec.name)
        for name in self.info.pids:
            self._clients[name] = self.connect(name)

    async def __aexit__(self, *exception: object) -> None:
        code, line = await self.stop()
        if code and exception[0] is None:
            raise VmFailure(code, line)

    async def _listen(self) -> tuple[ExitCode, str]:
        """Read the supervisor's lines until it ends: how it ended."""
        assert self._process.stdout is not None
        last: tuple[ExitCode, str] | None = None
        async for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "started":
                self._started.set()
            elif event["event"] == "ended":
                last = ExitCode(event["code"]), event["line"]
        await self._process.wait()
        if last is not None:
            return last
        rundir.remove(self.spec.name, self._process.pid)
        return ExitCode.SUPERVISOR_DIED, f"the supervisor (pid {self._process.pid}) ended without a word"

    async def guard(self, work: Awaitable[T]) -> T:
        """Await ``work``, or raise ``VmFailure`` as soon as the VM ends."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                code, line = self.ended.result()
                raise VmFailure(code, line or "the VM ended")
            return task.result()
        finally:
            task.cancel()

    async def stop(self) -> tuple[ExitCode, str]:
        """Close the life pipe, wait for the supervisor to clean up; how the VM ended."""
        for client in self._connections:
            client.close()
        self._connections.clear()
        assert self._process.stdin is not None
        self._process.stdin.close()
        result = await self.ended
        self._context.term()
        return result

    def connect(self, name: str) -> ControlClient:
        """A connection of its own to a process, for requests that take long."""
        client = ControlClient(self._context, f"ipc://{self.info.directory}/{name}")
        self._connections.append(client)
        return client

    async def host(self, verb: str, /, **arguments: Any) -> Any:
        """Ask the host process."""
        return await self.guard(self._clients["host"].request(verb, **arguments))
