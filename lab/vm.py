"""The VM of real processes, as the command line, the tests and other tools use it: ``async with VM(spec) as vm:``.

The VM is a supervisor with its own session, so a Ctrl-C at the terminal reaches only whoever started it; the life pipe
ties the VM to this process. Views of /proc and /sys are rendered here, from the guest's kernel memory, without
stopping anybody.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

import zmq.asyncio

from lab import rundir
from lab.control import ControlClient
from lab.failure import VmFailure
from lab.memories import Memories
from lab.report import Report, consistent, make_report
from lab.spec import VmSpec
from lab.watchdog import LOOK_SECONDS, Watchdog
from protocol.errors import ExitCode

T = TypeVar("T")

CUT_ATTEMPTS = 200
"""How often to look for a cut that no envelope crosses; with the sources stopped a few looks are enough."""


class VM:
    """A VM of real processes. Every method raises ``VmFailure`` if the VM ends while it waits."""

    def __init__(self, spec: VmSpec) -> None:
        self.spec = spec
        self._context = zmq.asyncio.Context()
        self._clients: dict[str, ControlClient] = {}

    # --- life -------------------------------------------------------------------------------------------------------

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
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Task[tuple[ExitCode, str]] = asyncio.create_task(self._listen())
        try:
            await self.guard(self._started)
        except BaseException:
            await self.stop()
            raise
        self.info = rundir.find(self.spec.name)
        for name in self.info.pids:
            self._clients[name] = ControlClient(self._context, f"ipc://{self.info.directory}/{name}")
        memories = Memories(self.info)
        self.memory = memories.kernel
        self.guest = memories.guest()
        self.watchdog = Watchdog(self.guest, memories.ram)
        return self

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
                self._started.set_result(None)
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
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        assert self._process.stdin is not None
        self._process.stdin.close()
        result = await self.ended
        self._context.term()
        return result

    # --- what one does with it ----------------------------------------------------------------------------------------

    async def host(self, verb: str, **arguments: Any) -> Any:
        """Ask the host process."""
        return await self.guard(self._clients["host"].request(verb, **arguments))

    async def cpu(self, cpu: int, verb: str, **arguments: Any) -> Any:
        """Ask a vCPU worker."""
        return await self.guard(self._clients[f"cpu{cpu}"].request(verb, **arguments))

    async def on_all(self, verb: str, **arguments: Any) -> list[Any]:
        """Ask every vCPU worker at once."""
        return await asyncio.gather(*(self.cpu(cpu, verb, **arguments) for cpu in range(self.spec.vcpus)))

    async def settled(self) -> None:
        """Wait until every offered device has been probed."""
        probed = asyncio.ensure_future(self.cpu(0, "settled"))
        try:
            while not probed.done():
                await asyncio.wait((probed,), timeout=LOOK_SECONDS)
                self.watchdog.check(self.now())
            probed.result()
        finally:
            probed.cancel()

    async def start_program(self, name: str, **arguments: Any) -> None:
        """Start a program of the guest's user space on every CPU."""
        await self.on_all("program", name=name, arguments=arguments)

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """Let the VM run."""
        await self.guard(asyncio.sleep(seconds))

    async def inject(self, where: str, fault: str, **arguments: Any) -> None:
        """Break something on purpose: ``where`` is ``host`` or ``cpu<n>``."""
        await self.guard(self._clients[where].request("inject", fault=fault, **arguments))

    async def report(self) -> Report:
        """Stop the sources, fence every VP, and take every process's snapshot at a cut that no envelope crosses."""
        await self.host("quiesce")
        try:
            for _ in range(CUT_ATTEMPTS):
                await self.host("fence")
                guests = await self.on_all("snapshot")
                host = await self.host("snapshot")
                if consistent(host, guests):
                    return make_report(self.spec.policy, host, guests, self.guest)
            raise VmFailure(ExitCode.CHECK_FAILED, "the VM did not come to rest: no consistent cut was found")
        finally:
            await self.host("resume")
