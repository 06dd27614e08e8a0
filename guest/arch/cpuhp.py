"""Taking a CPU offline and bringing it back (kernel/cpu.c, arch/x86/kernel/smpboot.c).

What must happen on the CPU itself is a list of steps, as ``cpuhp_setup_state`` registers them: brought up in order,
torn down in reverse order by the CPU's own hotplug task while it is still online; the first that refuses has the
others brought up again. Then the CPU leaves the online mask and plays dead. Its process lives on, and so does its port.

Simplified: a task here belongs to its CPU. Linux would move the tasks of a dying CPU elsewhere; here a CPU that has
any cannot go. So whoever takes a CPU offline must be on another one.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from guest.arch.smpboot import CpuMasks
from guest.kernel.core import Core, PlayDead
from guest.kernel.memory import Word
from guest.kernel.rwsem import RwSemaphoreWords
from guest.kernel.wait import CompletionWords
from protocol.ids import Cpu

OFFLINE = 0
ONLINE = 1


class CpuHotplugLock(RwSemaphoreWords):
    """``cpu_hotplug_lock``."""


class CpuhpWords(CompletionWords):
    """``struct cpuhp_cpu_state`` of one CPU. ``done``: the CPU has reached its target, or has gone back."""

    target = Word("cpu_hotplug_lock")
    """OFFLINE or ONLINE."""
    result = Word("its CPU")
    """errno, 0 if it got there."""


@dataclass(frozen=True, slots=True)
class CpuhpStep:
    """``struct cpuhp_step``, in process context of the CPU. ``teardown`` raises ``OSError`` if the CPU must stay."""

    name: str
    startup: Callable[[], Awaitable[None]]
    teardown: Callable[[], Awaitable[None]]


def kstrtobool(text: str) -> bool:
    """The first character decides, of "on" and "off" the second. Raises EINVAL (lib/kstrtox.c)."""
    head = text[:2].lower()
    if head[:1] in ("1", "y", "t") or head == "on":
        return True
    if head[:1] in ("0", "n", "f") or head == "of":
        return False
    raise OSError(errno.EINVAL, f"{text.strip()!r} is neither 0 nor 1")


class CpuHotplug:
    """One CPU's view. ``migrate_irqs`` runs on it with interrupts off when it has just left the online mask."""

    def __init__(
        self, core: Core, masks: CpuMasks, migrate_irqs: Callable[[], None], printk: Callable[[str], None]
    ) -> None:
        self._core = core
        self._masks = masks
        self._migrate_irqs = migrate_irqs
        self._printk = printk
        self._words = core.memory.table(CpuhpWords, core.cpus)
        self._own = self._words[core.cpu]
        self._done = [core.completion(words) for words in self._words]
        self._lock = core.rw_semaphore(core.memory.one(CpuHotplugLock))
        self._starting: list[Callable[[], None]] = []
        self._steps: list[CpuhpStep] = []
        self._cpuhp_task = core.calls.register(self._start_teardown)

    def setup_starting(self, startup: Callable[[], None]) -> None:
        """Have ``startup`` run on a CPU that comes back, before it takes its first interrupt."""
        self._starting.append(startup)

    def setup_state(self, step: CpuhpStep) -> None:
        """``cpuhp_setup_state``, before any CPU is up."""
        self._steps.append(step)

    def cpus_read_lock(self) -> AbstractAsyncContextManager[None]:
        """No CPU comes or goes while this is held."""
        return self._lock.read()

    # --- who asks ---------------------------------------------------------------------------------------------------

    async def cpu_down(self, cpu: Cpu) -> None:
        """Return when ``cpu`` is offline; nothing if it is. Raises ``OSError``: what refused, as a rule EBUSY."""
        async with self._lock.write():
            if not self._masks.online >> cpu & 1:
                return
            words = self._ask(cpu, OFFLINE)
            self._core.calls.call(cpu, self._cpuhp_task, 0)
            await self._done[cpu].wait()
            if words.result:
                raise OSError(words.result, f"CPU {cpu} cannot go offline")
            self._printk(f"smpboot: CPU {cpu} is now offline")

    async def cpu_up(self, cpu: Cpu) -> None:
        """Return when ``cpu`` is online; nothing if it is."""
        async with self._lock.write():
            if self._masks.online >> cpu & 1:
                return
            self._printk(f"smpboot: Booting Node 0 Processor {cpu} APIC {cpu:#x}")
            self._ask(cpu, ONLINE)
            self._core.wakeup_secondary_cpu(cpu)
            await self._done[cpu].wait()

    async def online_store(self, cpu: Cpu, text: str) -> int:
        """``write(2)`` to /sys/devices/system/cpu/cpuN/online: the byte count, also if nothing had to change.

        Raises ``OSError``: EINVAL for what is no truth value, else as :meth:`cpu_down`. On x86 CPU 0 has no such file.
        """
        await (self.cpu_up if kstrtobool(text) else self.cpu_down)(cpu)
        return len(text)

    def _ask(self, cpu: Cpu, target: int) -> CpuhpWords:
        self._done[cpu].reinit()
        words = self._words[cpu]
        words.target = target
        return words

    # --- the CPU that comes or goes ---------------------------------------------------------------------------------

    async def bring_up(self) -> None:
        """This CPU is in the online mask: bring its steps up and say that it is there. Also the end of its boot."""
        for step in self._steps:
            await step.startup()
        self._own.target = ONLINE
        self._own.result = 0
        self._done[self._core.cpu].complete()

    async def all_up(self) -> None:
        """``smp_init`` and the wait for what comes after it: every CPU of the VM has ended its boot."""
        for done in self._done:
            await done.wait()

    def _start_teardown(self, _: int) -> None:
        self._core.sched.spawn(self._teardown(), f"cpuhp/{self._core.cpu}")

    async def _teardown(self) -> None:
        down: list[CpuhpStep] = []
        try:
            for step in reversed(self._steps):
                await step.teardown()
                down.append(step)
            await self._wait_empty()
        except OSError as error:
            for step in reversed(down):
                await step.startup()
            self._own.result = error.errno or errno.EBUSY
        else:
            self._take_cpu_down()
            self._own.result = 0
        self._done[self._core.cpu].complete()

    async def _wait_empty(self) -> None:
        """``sched_cpu_wait_empty``: return with interrupts off when this CPU has nothing to do. Raises EBUSY."""
        core = self._core
        core.disable()
        while core.softirqs or len(core.sched.tasks) > 1:
            core.enable()
            others = [task.name for task in core.sched.tasks if task is not core.sched.current]
            if others:
                self._printk(f"CPU {core.cpu} stays online for its tasks: {', '.join(others)}")
                raise OSError(errno.EBUSY, f"CPU {core.cpu} has tasks, which cannot move to another")
            await core.sched.pause()
            core.disable()

    def _take_cpu_down(self) -> None:
        """``take_cpu_down``, which Linux runs under stop-machine; here the call queue's lock closes the door."""
        self._masks.set_cpu_online(False)
        if self._core.point:
            self._core.point("cpuhp.dying")
        self._migrate_irqs()
        self._core.calls.close()
        self._core.play_dead(PlayDead(lambda: self._own.target == ONLINE, self._start_secondary))

    def _start_secondary(self) -> None:
        """Interrupts are off. Calls are taken before the views are built, so that none is built too early."""
        self._core.calls.open()
        for startup in self._starting:
            startup()
        self._masks.set_cpu_online(True)
        self._core.sched.spawn(self.bring_up(), f"cpuhp/{self._core.cpu}")
