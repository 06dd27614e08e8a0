"""A vCPU worker: one process that runs the guest kernel on one CPU.

The shell is thin: a ZeroMQ socket under the VP port, uvloop for time and wake-ups, the shared memories. Interrupts are
taken in the loop's callback, and synchronously when a call returns or interrupts are enabled; never in the middle of
other code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import zmq

from guest.kernel.clock import Timer
from guest.kernel.core import Core
from guest.kernel.locks import LockBank
from guest.kernel.memory import KernelMemory
from guest.machine import GuestCpu, GuestSpec
from guest.process.lockup import SoftLockups
from protocol.ids import Cpu, VpIndex
from protocol.port.vp_port import VpPort
from protocol.shell.child import Child
from protocol.shell.control import ControlServer
from protocol.shell.fence import full_fence
from protocol.shell.journal_file import JournalFile
from protocol.shell.memory import GuestRam
from protocol.shell.port_socket import PortSocket
from protocol.shell.pump import Pump


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What one worker needs to know. ``epoch`` is the monotonic clock in ns at the VM's creation."""

    cpu: int
    cpus: int
    directory: str
    guest: GuestSpec
    epoch: int
    seed: int


class LoopClock:
    """Time from the loop: 100 ns units since the VM was created."""

    def __init__(self, child: Child, epoch: int) -> None:
        self._loop = child.loop
        self._epoch = epoch
        self.after: Callable[[], None] = lambda: None

    def now(self) -> int:
        return (time.monotonic_ns() - self._epoch) // 100

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        def expire() -> None:
            then()
            self.after()

        return self._loop.call_later(seconds, expire)


class Worker:
    """The process."""

    def __init__(
        self,
        spec: WorkerSpec,
        ram: GuestRam,
        kernel: memoryview,
        bank: LockBank,
        child: Child,
        journal: JournalFile | None,
    ) -> None:
        self.child = child
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        wire = PortSocket(context, spec.directory, VpIndex(spec.cpu))
        clock = LoopClock(child, spec.epoch)
        self.port = VpPort(VpIndex(spec.cpu), ram, wire)
        recorder = journal.recorder(f"cpu{spec.cpu}", clock.now) if journal is not None else None
        self.core = Core(Cpu(spec.cpu), spec.cpus, self.port, KernelMemory(kernel), bank, clock)
        if spec.guest.modules:
            self.lockups = SoftLockups(spec.guest.module_names, lambda: spec.cpu)
            self.core.oops.lockups = self.lockups.of(spec.cpu)
            self.lockups.start()
        self.guest = GuestCpu(self.core, spec.guest, full_fence, recorder)
        wire.deliver = self.port.receive
        self.pump = Pump(child.loop, wire.socket, wire.receive, self.core.run)
        wire.after_wait = self.pump.kick
        clock.after = self.pump.kick
        self.control = ControlServer(
            child.loop,
            context,
            f"ipc://{spec.directory}/cpu{spec.cpu}",
            {
                "settled": lambda: self._run(self.guest.settled()),
                "program": lambda name, arguments: self.guest.start_program(name, **arguments),
                "stop": self.guest.stop_program,
                "write": lambda path, data: self._run(self.guest.write(path, data)),
                "snapshot": self.guest.snapshot,
                "inject": lambda fault, **arguments: self.guest.inject(fault, **arguments),
            },
            self.pump.kick,
        )
        self.port.hello()
        self.guest.start()
        self.pump.kick()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run a coroutine of the guest kernel as a task of this CPU; its result as a future of the loop."""
        future: asyncio.Future[Any] = self.child.loop.create_future()

        async def task() -> None:
            try:
                future.set_result(await coroutine)
            except Exception as error:
                future.set_exception(error)

        self.core.sched.spawn(task(), "control")
        self.pump.kick()
        return future


def run_worker(
    spec: WorkerSpec,
    ram: GuestRam,
    kernel: memoryview,
    bank: LockBank,
    life: int,
    status: int,
    journal: JournalFile | None,
) -> int:
    """The body of a worker process; returns its exit code."""
    child = Child(f"cpu{spec.cpu}", life, status)
    return child.run(lambda: Worker(spec, ram, kernel, bank, child, journal))
