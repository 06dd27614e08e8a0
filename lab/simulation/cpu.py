"""One CPU of the simulated guest: its kernel and drivers, and the greenlet that they run on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from guest.kernel.core import Core
from guest.kernel.memory import KernelMemory
from guest.machine import GuestCpu
from lab.simulation.shell import SimulatedClock, SimulatedLink
from protocol.ids import Cpu, VpIndex
from protocol.port.vp_port import VpPort

if TYPE_CHECKING:
    from lab.simulation.vm import SimulatedVM


def _at_once(function: Callable[[], None]) -> None:
    function()


class SimulatedCpu:
    """One CPU of the guest and its greenlet."""

    def __init__(self, cpu: int, vm: SimulatedVM) -> None:
        hub = vm.hub
        self.name = f"cpu{cpu}"
        self.link = SimulatedLink(hub, f"to {self.name}")
        self.port = VpPort(VpIndex(cpu), vm.ram, self.link)
        self.link.port = self.port
        self._inbox: deque[Callable[[], None]] = deque()
        self._inside = False
        clock = SimulatedClock(hub, _at_once)
        memory = KernelMemory(vm.kernel)
        self.core = Core(Cpu(cpu), vm.spec.vcpus, self.port, memory, vm.locks, clock, hub.point)
        if vm.lockups is not None:
            self.core.oops.lockups = vm.lockups.of(cpu)
        self.guest = GuestCpu(self.core, vm.guest_spec, lambda: None, vm.recorder(self.name))
        self.link.held = self.core.locks.held
        runner = self.runner = hub.add(self.name, self._body, self._can_run)
        runner.may_interrupt = lambda: bool(self.port.pending) and self.core.interruptible
        runner.interrupt = self.core.poll
        self.enter(self._boot)

    def enter(self, function: Callable[[], None]) -> None:
        """Have the CPU run ``function`` between two pieces of its work."""
        self._inbox.append(function)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task of this CPU."""
        self.core.sched.spawn(work, name)

    def _boot(self) -> None:
        self.port.hello()
        self.guest.start()

    def _can_run(self) -> bool:
        return bool(self._inbox) or self.core.has_work

    def _body(self) -> None:
        """One piece of work, so that the schedule has a say between any two."""
        self._inside = True
        if self._inbox:
            self._inbox.popleft()()
        self.core.run(1)
        self._inside = False

    @property
    def idle(self) -> bool:
        """It does nothing, and there is nothing to do; it may well have been stopped in the middle of its last work."""
        return not (self._inside or self._can_run())

    def snapshot(self) -> dict[str, Any]:
        return self.guest.snapshot()
