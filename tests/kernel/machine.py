"""CPUs of one guest as greenlets: at every spin lock the test's random numbers may let another CPU go on.

Interrupts between CPUs arrive at once, as bits; they are taken where the CPU allows it. Nothing passes time by itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast

from greenlet import GreenletExit, getcurrent, greenlet

from guest.kernel.core import CALL_FUNCTION_SINGLE_VECTOR, RESCHEDULE_VECTOR, Core
from guest.kernel.locks import RawLock
from guest.kernel.memory import KernelMemory
from protocol.ids import PAGE_SIZE, Cpu, VpIndex
from protocol.port.vp_port import VpPort
from protocol.shell.memory import GuestRam
from protocol.wire.synic import HYPERV_STIMER0_VECTOR

WORDS = 1 << 16


class Stranded(AssertionError):
    """Somebody waits, and nobody will ever come."""


class Port(VpPort):
    """A VP port whose only traffic is interrupts to other CPUs."""

    def __init__(self, machine: Machine, cpu: int) -> None:
        super().__init__(VpIndex(cpu), machine.ram, cast(Any, None))
        self._machine = machine
        self.ipis: list[int] = []
        """Vectors sent."""

    def cast(self, control: int, rdx: int, r8: int = 0) -> None:
        self.ipis.append(rdx)
        for vp, core in enumerate(self._machine.cores):
            if r8 >> vp & 1:
                core.port.raise_vector(rdx)


class Lock:
    """A spin lock: whoever finds it taken spins, which here means that others run."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self.name = name
        self.taken = False

    def acquire(self) -> None:
        self._machine.point()
        while self.taken:
            self._machine.spin(self)
        self.taken = True

    def release(self) -> None:
        self.taken = False
        self._machine.point()


class Timer:
    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Machine:
    """``LockBank`` and ``Clock`` of its CPUs. Without ``random`` no CPU is ever interrupted by another."""

    def __init__(self, cpus: int = 2, random: Random | None = None) -> None:
        self.ram = GuestRam.create(1024 * PAGE_SIZE, "kernel")
        self.words = memoryview(bytearray(WORDS * 8)).cast("Q")
        self.time = 0
        self.cores: list[Core] = []
        self._random = random
        self._locks: dict[str, Lock] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._spins: dict[greenlet, Lock] = {}
        for cpu in range(cpus):
            core = Core(Cpu(cpu), cpus, Port(self, cpu), KernelMemory(self.words), self, self)
            core.vectors[RESCHEDULE_VECTOR] = core.wake_parked
            core.vectors[CALL_FUNCTION_SINGLE_VECTOR] = core.calls.interrupt
            core.vectors[HYPERV_STIMER0_VECTOR] = core.timer_interrupt
            self.cores.append(core)

    def ipis(self, cpu: int) -> list[int]:
        return cast(Port, self.cores[cpu].port).ipis

    # What the cores are given.

    def raw(self, name: str) -> RawLock:
        return self._locks.setdefault(name, Lock(self, name))

    def now(self) -> int:
        return self.time

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        timer = Timer(then)
        heapq.heappush(self._timers, (self.time + round(seconds * 1e7), len(self._timers), timer))
        return timer

    # Who runs.

    def point(self) -> None:
        if self._spins.get(getcurrent()) is None and getcurrent().parent is not None and self._random is not None:
            if self._random.randrange(3) == 0:
                getcurrent().parent.switch()
            core = self._here()
            if core.interruptible and self._random.randrange(2):
                core.poll()

    def spin(self, lock: Lock) -> None:
        me = getcurrent()
        if me.parent is None:
            raise Stranded(f"{lock.name} is taken and its owner does not run")
        self._spins[me] = lock
        me.parent.switch()
        del self._spins[me]

    def _here(self) -> Core:
        return self.cores[self._greenlets.index(getcurrent())]

    def settle(self) -> None:
        """Run all CPUs until none has anything to do."""
        idle = [True] * len(self.cores)

        def loop(core: Core) -> None:
            while True:
                idle[core.cpu] = False
                core.run()
                idle[core.cpu] = True
                getcurrent().parent.switch()

        def can_run(core: Core) -> bool:
            lock = self._spins.get(self._greenlets[core.cpu])
            if lock is not None:
                return not lock.taken
            return not idle[core.cpu] or bool(core.port.pending or core.softirqs or core.sched.ready)

        self._greenlets = [greenlet(loop) for _ in self.cores]
        runs = 0
        while ready := [core for core in self.cores if can_run(core)]:
            core = ready[self._random.randrange(len(ready)) if self._random else 0]
            self._greenlets[core.cpu].switch(core)
            runs += 1
            if runs > 100_000:
                raise Stranded("the CPUs never come to rest")
        spinning = [lock.name for lock in self._spins.values()]
        for each in self._greenlets:
            each.throw(GreenletExit)
        if spinning:
            raise Stranded(f"deadlock on {spinning}")

    def pass_time(self) -> None:
        """Settle; then let the timers expire one after the other, and settle."""
        self.settle()
        while self._timers:
            due, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.time = due
                timer.then()
                self.settle()


@contextmanager
def nobody_waits(machine: Machine) -> Iterator[None]:
    """Afterwards every task has ended."""
    yield
    machine.settle()
    waiting = [task.name for core in machine.cores for task in core.parked]
    if waiting:
        raise Stranded(f"{waiting} wait for ever")
