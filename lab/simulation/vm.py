"""The VM of the simulation: the same cores in one process, under virtual time and a seeded scheduler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from guest.kernel.memory import KernelMemory
from guest.machine import KERNEL_BYTES, GuestCpu
from guest.process.lockup import SoftLockups
from guest.vmbus.policy import Policy
from host.faults import break_host
from host.machine import Machine
from host.operator import operate
from host.vsp.kind import Disk
from lab.description import opening
from lab.failure import VmFailure
from lab.files import Files
from lab.guest_view import GuestView
from lab.machine import Outside, guest_spec, machine_spec, topology
from lab.report import Cut, Report, consistent, make_report
from lab.simulation.course import Course
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.hub import Deadlock, Hub, OutOfTime
from lab.simulation.locks import SimulatedLocks
from lab.simulation.repeat import repeat
from lab.simulation.schedule import EVENT, Kind, Schedule, SeededSchedule
from lab.simulation.shell import MappedDisk, SimulatedClock
from lab.simulation.steering import Steering
from lab.spec import VmSpec
from lab.watchdog import Watchdog
from protocol.errors import ExitCode, OperatorError
from protocol.ids import VpIndex
from protocol.journal import Journal, Record, Recorder, digest, merge, pack, unpack
from protocol.shell.memory import GuestRam

PATIENCE = 3600.0
"""Virtual seconds after which what is waited for is given up."""
BATCH = 64
"""Envelopes that the host takes in one turn of its loop."""


T = TypeVar("T")


class SimulatedVM:
    """``async with SimulatedVM(spec) as vm:``, with the methods of the VM of processes; nothing really waits.

    With a ``course`` it goes the way of a real run, as far as ``schedule`` lets it.
    """

    def __init__(self, spec: VmSpec, schedule: Schedule | None = None, course: Course | None = None) -> None:
        self.spec = spec
        self.records: list[bytes] = []
        self._steering: Steering | None = None
        self._schedule = schedule or SeededSchedule(spec.seed)
        self.hub = Hub(self._schedule)
        decisions = self.recorder("scheduler")
        self.hub.note = lambda decision: decisions(EVENT, *decision)
        self.locks = SimulatedLocks(self.hub)
        if course is not None:
            self._steering = Steering(course, self.hub, partial(repeat, self))

    async def __aenter__(self) -> Self:
        spec, hub = self.spec, self.hub
        outside = Outside.of(spec)
        self.guest_spec = guest_spec(spec, outside)
        self.ram = GuestRam.create(spec.memory_mb << 20, f"vmbus-lab:{spec.name}:ram")
        self.kernel = memoryview(bytearray(KERNEL_BYTES)).cast("Q")
        self._inbox: deque[Callable[[], None]] = deque()
        self.host = Machine(
            machine_spec(spec, outside),
            self.ram,
            self._transmit,
            SimulatedClock(hub, self._inbox.append),
            self._open_disk,
            lambda: None,
            self.recorder("host"),
            hub.point,
        )
        self.lockups = SoftLockups(self.guest_spec.module_names, self._running_cpu) if outside.drivers else None
        self.cpus = [SimulatedCpu(cpu, self) for cpu in range(spec.vcpus)]
        hub.add("host", self._host_body, self._host_can_run)
        self.memory = KernelMemory(self.kernel)
        self.guest = GuestView(self.memory)
        self.files = Files(self.guest.root(self.ram.bytes), self._write)
        self.watchdog = Watchdog(self.guest, self.ram.bytes)
        if self.lockups is not None:
            self.lockups.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self.lockups is not None:
            self.lockups.stop()
        for cpu in self.cpus:
            cpu.port.pending = 0  # or the locks that are let go would let interrupts in
        self.hub.close()
        for cpu in self.cpus:
            cpu.core.sched.close()
        self.ram.close()
        if self.spec.trace is not None:
            Path(self.spec.trace).write_bytes(b"".join([*map(pack, self._openings()), *self.records]))
        if exception[0] is None:
            self._schedule.end()

    # --- the shell ------------------------------------------------------------------------------------------------

    def recorder(self, who: str) -> Journal:
        """The journal of one participant: all write into one list, in the order in which things happen."""
        write = Recorder(who, lambda: self.hub.time, self.records.append)
        if self._steering is None:
            return write
        met = self._steering.met

        def write_and_steer(event: str, *fields: Any) -> None:
            write(event, *fields)
            met(Record(self.hub.time, who, event, fields))

        return write_and_steer

    def _openings(self) -> Iterator[Record]:
        """What a journal begins with: everything that the run depends on besides its decisions."""
        yield opening(self.spec)
        if self._steering is not None:
            yield self._steering.course.opening()

    def _running_cpu(self) -> int:
        """The CPU whose greenlet runs; -1 for the host's."""
        return next((number for number, cpu in enumerate(self.cpus) if cpu.runner is self.hub.current), -1)

    def _transmit(self, vp: VpIndex, data: bytes) -> None:
        self.cpus[vp].link.to_port.append(data)

    def _open_disk(self, disk: Disk) -> MappedDisk:
        return MappedDisk(self.hub, self._inbox.append, disk.path, disk.writable)

    def _host_can_run(self) -> bool:
        return bool(self._inbox) or any(cpu.link.to_host for cpu in self.cpus)

    def _host_body(self) -> None:
        """One turn of the host's loop: what has come in, whichever VP it is from, then the signals of the turn."""
        while self._inbox:
            self._inbox.popleft()()
        for _ in range(BATCH):
            waiting = [cpu for cpu in self.cpus if cpu.link.to_host]
            if not waiting:
                break
            cpu = waiting[self.hub.choose(Kind.TAKE, [cpu.name for cpu in waiting])]
            self.host.partition.receive(cpu.port.vp, cpu.link.to_host.popleft())
            self.hub.point("host.turn")
        self.host.partition.flush()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Let the VM run until ``condition`` holds. Raises ``VmFailure``: a deadlock, or it takes too long."""
        try:
            self.hub.run_until(condition, seconds, what)
        except Deadlock as error:
            raise VmFailure(ExitCode.CHECK_FAILED, f"deadlock: {error}") from None
        except OutOfTime as error:
            waiting = ", ".join(f"{cpu.name}: {task.name}" for cpu in self.cpus for task in cpu.core.sched.tasks)
            raise VmFailure(ExitCode.CHECK_FAILED, f"{error}; tasks that have not ended: {waiting or 'none'}") from None

    # --- what one does with it --------------------------------------------------------------------------------------

    def on_host(self, function: Callable[[], None]) -> None:
        """Have the host run ``function`` in its next turn."""
        self._inbox.append(function)

    def do(self, cpu: int, work: Coroutine[Any, Any, T], what: str) -> T:
        """Let the VM run until a task of ``cpu`` has done ``work``, and return or raise what came of it."""
        results: list[T] = []
        errors: list[OSError] = []

        async def task() -> None:
            try:
                results.append(await work)
            except OSError as error:
                errors.append(error)

        self.cpus[cpu].enter(lambda: self.cpus[cpu].spawn(task(), what))
        try:
            self.until(lambda: bool(results or errors), what)
        except BaseException:
            work.close()  # it may never have begun
            raise
        for error in errors:
            raise error
        return results[0]

    async def settled(self) -> None:
        self.do(0, self.cpus[0].guest.settled(), "probing the devices")

    async def _write(self, cpu: int, path: str, data: bytes) -> int:
        return self.do(cpu, self.cpus[cpu].guest.write(path, data), f"a write to {path}")

    async def start_program(self, name: str, **arguments: Any) -> None:
        await self._on_cpus(self.cpus, lambda guest: guest.start_program(name, **arguments), f"the start of {name}")

    async def stop_program(self, name: str) -> None:
        self.cpus[0].enter(lambda: self.cpus[0].guest.stop_program(name))

    async def _on_cpus(self, cpus: list[SimulatedCpu], function: Callable[[GuestCpu], None], what: str) -> None:
        """Have CPUs run ``function``; what the first of them refuses is raised here."""
        refused: list[OperatorError | None] = []

        def enter(cpu: SimulatedCpu) -> None:
            try:
                function(cpu.guest)
                refused.append(None)
            except OperatorError as error:
                refused.append(error)

        for cpu in cpus:
            cpu.enter(partial(enter, cpu))
        self.until(lambda: len(refused) == len(cpus), what)
        for error in filter(None, refused):
            raise error

    async def pass_time(self, seconds: float) -> None:
        end = self.hub.time + round(seconds * 10_000_000)
        self.hub.call_later(seconds, lambda: None)
        self.until(lambda: self.hub.time >= end, "the end of a pause")

    def now(self) -> float:
        return self.hub.time / 10_000_000

    async def operate(self, verb: str, /, **arguments: Any) -> Any:
        results: list[Any] = []
        refused: list[OperatorError] = []

        def ask() -> None:
            try:
                operate(self.host, verb, results.append, **arguments)
            except OperatorError as error:
                refused.append(error)

        self.on_host(ask)
        self.until(lambda: bool(results or refused), f"the operator's {verb}")
        for error in refused:
            raise error
        return results[0]

    async def inject(self, where: str, fault: str, **arguments: Any) -> None:
        if where == "host":
            break_host(self.host, fault, **arguments)
        else:
            cpu = self.cpus[int(where.removeprefix("cpu"))]
            await self._on_cpus([cpu], lambda guest: guest.inject(fault, **arguments), f"fault {fault}")

    async def report(self) -> Report:
        self.host.services.quiesce()
        fenced: list[bool] = []
        self._inbox.append(
            lambda: self.host.partition.when_delivered(self.host.partition.vps, lambda: fenced.append(True))
        )

        def at_rest() -> bool:
            return (
                bool(fenced)
                and not self._host_can_run()
                and all(cpu.idle and not cpu.link.to_port for cpu in self.cpus)
                and consistent(self.host.snapshot(), [cpu.snapshot() for cpu in self.cpus])
            )

        self.until(at_rest, "coming to rest")
        spec, ports = self.spec, [cpu.snapshot() for cpu in self.cpus]
        cut = Cut(Policy(spec.policy), topology(spec), self.host.snapshot(), ports, self.guest, self.ram.bytes)
        report = make_report(cut)
        self.host.services.resume()
        return report

    def trace(self) -> list[Record]:
        """Everything that has happened, in order."""
        return list(unpack(b"".join(self.records)))

    def trace_hash(self) -> str:
        """Equal for equal seeds, on every machine."""
        return digest(merge([b"".join(self.records)]))
