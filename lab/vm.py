"""The VM of real processes, as the command line, the tests and other tools use it: ``async with VM(spec) as vm:``.

Views of /proc and /sys are rendered here, from the guest's kernel memory, without stopping anybody.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from guest.vmbus.policy import Policy
from lab.failure import VmFailure
from lab.files import Files
from lab.machine import topology
from lab.memories import Memories
from lab.report import Cut, Report, consistent, make_report
from lab.stalls import probes
from lab.supervised import SupervisedVm
from lab.watchdog import LOOK_SECONDS, Watchdog
from protocol.errors import ExitCode

CUT_ATTEMPTS = 200
"""How often to look for a cut that no envelope crosses; with the sources stopped a few looks are enough."""


class VM(SupervisedVm):
    """The guest is one kernel on vCPU workers."""

    def _attach(self) -> None:
        super()._attach()
        memories = Memories(self.info)
        self.memory = memories.kernel
        self._ram = memories.ram
        self.guest = memories.guest()
        self.files = Files(self.guest.root(memories.ram), self._write)
        self.watchdog = Watchdog(self.guest, memories.ram)

    async def _write(self, cpu: int, path: str, data: bytes) -> int:
        result: int = await self.cpu(cpu, "write", path=path, data=data)
        return result

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
                self.watchdog.check(self.now(), *probes(self.guest))
            probed.result()
        finally:
            probed.cancel()

    async def start_program(self, name: str, **arguments: Any) -> None:
        """Start a program of the guest's user space on every CPU."""
        await self.on_all("program", name=name, arguments=arguments)

    async def stop_program(self, name: str) -> None:
        """Have a program end; its words say when it has."""
        await self.cpu(0, "stop", name=name)

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def pass_time(self, seconds: float) -> None:
        """Let the VM run."""
        await self.guard(asyncio.sleep(seconds))

    async def operate(self, verb: str, /, **arguments: Any) -> Any:
        """Do what an operator of the host can do, see ``host.operator``."""
        return await self.host(verb, **arguments)

    async def inject(self, where: str, fault: str, **arguments: Any) -> None:
        """Break something on purpose: ``where`` is ``host`` or ``cpu<n>``."""
        await self.guard(self._clients[where].request("inject", fault=fault, **arguments))

    async def report(self) -> Report:
        """Stop the sources, fence every VP, and take every process's snapshot at a cut that no envelope crosses.

        The guest has timers of its own, which no host can stop: kernel memory is read between two looks at the CPUs,
        and belongs to the cut only if both say the same.
        """
        await self.host("quiesce")
        try:
            for _ in range(CUT_ATTEMPTS):
                await self.host("fence")
                guests = await self.on_all("snapshot")
                host = await self.host("snapshot")
                if consistent(host, guests):
                    spec = self.spec
                    cut = Cut(Policy(spec.policy), topology(spec), host, guests, self.guest, self._ram)
                    report = make_report(cut)
                    if await self.on_all("snapshot") == guests:
                        return report
            raise VmFailure(ExitCode.CHECK_FAILED, "the VM did not come to rest: no consistent cut was found")
        finally:
            await self.host("resume")
