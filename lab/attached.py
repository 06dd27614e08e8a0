"""A running VM that somebody else has started, as the commands beside ``run`` use it."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from typing import Any

import zmq.asyncio

from lab import rundir
from lab.control import ControlClient
from lab.failure import VmFailure
from lab.files import Files
from lab.guest_view import GuestView
from lab.memories import Memories
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode, OperatorError


class AttachedVm:
    """Found by name, or the only one that runs. Raises ``OperatorError`` if there is none."""

    def __init__(self, name: str | None) -> None:
        self.info = rundir.find(name)

    # --- the host -----------------------------------------------------------------------------------------------------

    async def operate(self, verb: str, /, **arguments: Any) -> Any:
        """Do what an operator of the host can do, see ``host.operator``."""
        return await self._ask("host", verb, **arguments)

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """The VM runs by itself."""
        await asyncio.sleep(seconds)

    # --- the emulated guest: an OperatorError if there is a real one --------------------------------------------------

    @cached_property
    def guest(self) -> GuestView:
        """What it has written down."""
        return self._memories.guest()

    @cached_property
    def files(self) -> Files:
        """/proc and /sys."""
        return Files(self.guest.root(self._memories.ram), self._write)

    @cached_property
    def _memories(self) -> Memories:
        return Memories(self.info)

    async def _write(self, cpu: int, path: str, data: bytes) -> int:
        if not 0 <= cpu < self.info.vcpus:
            raise OperatorError(f"VM '{self.info.name}' has the CPUs 0 to {self.info.vcpus - 1}: choose one with --cpu")
        result: int = await self._ask(f"cpu{cpu}", "write", path=path, data=data)
        return result

    # --- its processes ------------------------------------------------------------------------------------------------

    async def _ask(self, process: str, verb: str, /, **arguments: Any) -> Any:
        """Raises ``VmFailure`` if the VM ends before the process has answered, which it may do late or never."""
        client = ControlClient(zmq.asyncio.Context.instance(), f"ipc://{self.info.directory}/{process}")
        answer = asyncio.ensure_future(client.request(verb, **arguments))
        try:
            while not answer.done():
                await asyncio.wait((answer,), timeout=LOOK_SECONDS)
                if not (answer.done() or self.info.alive):
                    raise VmFailure(ExitCode.PROCESS_DIED, f"VM '{self.info.name}' ended before {process} had answered")
            return answer.result()
        finally:
            answer.cancel()
            client.close()
