"""A running VM that somebody else has started, as ``cat``, ``ls``, ``write`` and ``top`` use it."""

from __future__ import annotations

import asyncio

import zmq.asyncio

from lab import rundir
from lab.control import ControlClient
from lab.failure import VmFailure
from lab.files import Files
from lab.memories import Memories
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode, OperatorError


class AttachedVm:
    """Found by name, or the only one that runs. Raises ``OperatorError`` if it cannot be looked into."""

    def __init__(self, name: str | None) -> None:
        self.info = rundir.find(name)
        memories = Memories(self.info)
        self.guest = memories.guest()
        self.files = Files(self.guest.root(memories.ram), self._write)

    async def _write(self, cpu: int, path: str, data: bytes) -> int:
        """Raises ``VmFailure`` if the VM ends before the CPU has answered, which it may do late or never."""
        if not 0 <= cpu < self.info.vcpus:
            raise OperatorError(f"VM '{self.info.name}' has the CPUs 0 to {self.info.vcpus - 1}: choose one with --cpu")
        context = zmq.asyncio.Context()
        client = ControlClient(context, f"ipc://{self.info.directory}/cpu{cpu}")
        answer = asyncio.ensure_future(client.request("write", path=path, data=data))
        try:
            while not answer.done():
                await asyncio.wait((answer,), timeout=LOOK_SECONDS)
                if not (answer.done() or self.info.alive):
                    raise VmFailure(ExitCode.PROCESS_DIED, f"VM '{self.info.name}' ended before CPU {cpu} had written")
            result: int = answer.result()
            return result
        finally:
            answer.cancel()
            client.close()
            context.term()
