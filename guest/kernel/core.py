"""One CPU of the guest kernel: its interrupt flag, its pending work, and the order in which it does it.

Interrupts first, then softirqs, then tasks, as in Linux. The shell calls ``run`` after every input. Inside, interrupts
are taken where hardware could take them and we allow it: here in the loop, when a call to the host returns, and when
interrupts are enabled again with a vector pending. The simulation may also take them at any preemption point.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from guest.kernel.clock import Clock, Timer
from guest.kernel.locks import LockBank, Locks
from guest.kernel.memory import KernelMemory
from guest.kernel.oops import Oops
from guest.kernel.pages import PageAllocator
from guest.kernel.rwsem import RwSemaphore, RwSemaphoreWords
from guest.kernel.sched import Scheduler, Task, park
from guest.kernel.smp import CallAll, CallAllWords, CallQueue, CrossCalls
from guest.kernel.softirq import Softirq
from guest.kernel.tasklet import Tasklet, TaskletWords
from guest.kernel.wait import Completion, CompletionWords, Mutex, MutexWords, WaitQueue, WaitWords
from protocol.ids import PAGE_SIZE, Cpu, Pfn, VpIndex
from protocol.port.vp_port import VpPort
from protocol.wire.hypercall import Code, ControlWord
from protocol.wire.synic import HYPERV_STIMER0_VECTOR

CALL_FUNCTION_SINGLE_VECTOR = 0xFB
RESCHEDULE_VECTOR = 0xFD
_SEND_IPI = ControlWord(Code.SEND_IPI, fast=True).encode()

Point = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PlayDead:
    """What an offline CPU looks at whenever something arrives, and what it does when it is brought up again."""

    wanted: Callable[[], bool]
    start_secondary: Callable[[], None]


class Core:
    """The kernel of one CPU: what Linux keeps in per-CPU variables, and the primitives on shared words.

    All CPUs construct it, and everything on it, in the same order; that is how their tables fall on the same words.
    """

    def __init__(
        self,
        cpu: Cpu,
        cpus: int,
        port: VpPort,
        memory: KernelMemory,
        bank: LockBank,
        clock: Clock,
        point: Point | None = None,
    ) -> None:
        self.cpu = cpu
        self.cpus = cpus
        self.port = port
        self.ram = port.ram
        self.memory = memory
        self.clock = clock
        self.point = point
        self.locks = Locks(bank, self)
        self.oops = Oops(cpu, memory, self.locks)
        self.sched = Scheduler(self.locks.held, self.oops)
        self.parked: dict[Task, None] = {}
        self.softirqs: deque[Softirq] = deque()
        self.vectors: dict[int, Callable[[], None]] = {}
        self.spurious_vectors = 0
        self._expired: deque[Callable[[], None]] = deque()
        self._irqs_off = 0
        self._in_softirq = False
        self._dead: PlayDead | None = None
        port.after_call = self.poll
        self.calls = CrossCalls(
            cpu,
            memory.table(CallQueue, cpus),
            [self.locks.irqsave("call_queue", n) for n in range(cpus)],
            lambda target: self._send_ipi(target, CALL_FUNCTION_SINGLE_VECTOR),
            self,
        )
        self.pages = PageAllocator.of(self)

    # --- the order of work ----------------------------------------------------------------------------------------

    def run(self, budget: int = 256) -> bool:
        """Do pending work, most urgent first. True if there is work left.

        Tasks take turns with softirqs, as they do with ksoftirqd: a tasklet that keeps scheduling itself, or that a
        task of this CPU has disabled, must not keep the tasks from going on.
        """
        for _ in range(budget):
            if self._dead is not None and not self._resurrect(self._dead):
                return False
            assert not self._irqs_off, "interrupts are off outside of any work"
            self.poll()
            ran = self._run_softirqs() if self.softirqs else False
            if self.sched.ready:
                self.sched.run_one()
            elif not (ran or self.port.pending):
                return bool(self.softirqs)
        return True

    def interrupt(self) -> None:
        """Take the highest pending vector with interrupts off, then run softirqs unless they were interrupted."""
        self._irqs_off += 1
        handler = self.vectors.get(self.port.take_vector())
        if handler is None:
            self.spurious_vectors += 1
        else:
            handler()
        self._irqs_off -= 1
        if self.softirqs and not self._in_softirq and not self._irqs_off:
            self._run_softirqs()

    def _run_softirqs(self) -> bool:
        """Run what is scheduled now, not what it schedules. False if nothing could run."""
        ran = False
        self._in_softirq = True
        for _ in range(len(self.softirqs)):
            ran |= self.softirqs.popleft().run()
        self._in_softirq = False
        return ran

    @property
    def has_work(self) -> bool:
        """``run`` would do something."""
        if self._dead is not None:
            return self._dead.wanted()
        return bool(self.sched.ready or self.softirqs or (self.port.pending and self.interruptible))

    # --- offline ----------------------------------------------------------------------------------------------------

    def play_dead(self, until: PlayDead) -> None:
        """``native_play_dead``: this CPU does nothing more until ``until.wanted()``. Interrupts are off.

        Its port lives on. A vector that still arrives stays pending and is taken when the CPU is online again, as Linux
        then finds it in the local APIC ("Stale IRR").
        """
        self._dead = until

    @property
    def dead(self) -> bool:
        """The CPU is offline."""
        return self._dead is not None

    def _resurrect(self, dead: PlayDead) -> bool:
        if not dead.wanted():
            return False
        self._dead = None
        dead.start_secondary()
        self.enable()
        return True

    def disable(self) -> None:
        """``local_irq_save``; nests."""
        self._irqs_off += 1

    def enable(self) -> None:
        """``local_irq_restore``: takes what became pending."""
        self._irqs_off -= 1
        if self.port.pending and not self._irqs_off:
            self.poll()

    def poll(self) -> None:
        """An instruction boundary at which interrupts may be taken."""
        while self.port.pending and not self._irqs_off:
            self.interrupt()

    @property
    def interruptible(self) -> bool:
        return not self._irqs_off

    def buffer(self, first: Pfn, count: int) -> memoryview:
        """The bytes of pages that are allocated, and no others. Raises ``ValueError`` if they are not."""
        self.pages.check(first, count)
        return self.ram.bytes[first * PAGE_SIZE : (first + count) * PAGE_SIZE]

    # --- time -------------------------------------------------------------------------------------------------------

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Run ``then`` in interrupt context of this CPU after ``seconds``: a synthetic timer in direct mode."""
        return self.clock.call_later(seconds, lambda: self._timer_expired(then))

    def _timer_expired(self, then: Callable[[], None]) -> None:
        self._expired.append(then)
        self.port.raise_vector(HYPERV_STIMER0_VECTOR)

    def timer_interrupt(self) -> None:
        """``hv_stimer0_isr``: run what has expired."""
        while self._expired:
            with self.oops.containing("a timer"):
                self._expired.popleft()()

    async def sleep(self, seconds: float) -> None:
        """``msleep``."""
        await self.wait_until(lambda: False, seconds)

    async def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition that this CPU makes true, or for the time-out; True if the condition held.

        Whoever makes it true calls ``wake_parked`` or an interrupt of this CPU does it.
        """
        task = self.sched.current
        assert task is not None, "only a task can wait"
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            task.wake()

        timer = self.call_later(seconds, expire)
        self.parked[task] = None
        while not (held := condition()) and not late:
            await park()
        self.parked.pop(task, None)
        timer.cancel()
        return held

    # --- other CPUs -------------------------------------------------------------------------------------------------

    def reschedule(self, cpu: Cpu) -> None:
        """``smp_send_reschedule``: make ``cpu`` look at its parked tasks again."""
        if cpu == self.cpu:
            self.wake_parked()
        elif not self.calls.offline(cpu):
            self._send_ipi(cpu, RESCHEDULE_VECTOR)

    def wakeup_secondary_cpu(self, cpu: Cpu) -> None:
        """Make an offline CPU look whether it is wanted. Simplified: a reschedule interrupt, not INIT and start-up."""
        self._send_ipi(cpu, RESCHEDULE_VECTOR)

    def wake_parked(self) -> None:
        """Let every waiting task of this CPU look at its condition again."""
        for task in list(self.parked):
            task.wake()

    def _send_ipi(self, cpu: Cpu, vector: int) -> None:
        """HvCallSendSyntheticClusterIpi. In this VM the VP index of a CPU equals its number (``hv_vp_index``)."""
        self.port.cast(_SEND_IPI, vector, 1 << VpIndex(cpu))

    # --- primitives on shared words ---------------------------------------------------------------------------------

    def wait_queue(self, words: WaitWords) -> WaitQueue:
        return WaitQueue(words, self.locks.irqsave("wait", words.base), self)

    def completion(self, words: CompletionWords) -> Completion:
        return Completion(words, self.locks.irqsave("wait", words.base), self)

    def mutex(self, words: MutexWords) -> Mutex:
        return Mutex(words, self.locks.irqsave("wait", words.base), self)

    def rw_semaphore(self, words: RwSemaphoreWords) -> RwSemaphore:
        return RwSemaphore(words, self.locks.irqsave("wait", words.base), self)

    def tasklet(self, words: TaskletWords, function: Callable[[], None]) -> Tasklet:
        return Tasklet(words, self.locks.irqsave("tasklet", words.base), function, self.softirqs)

    def call_on_all(self, function: Callable[[int], None]) -> CallAll:
        """``on_each_cpu`` for one function. Made once, at the same place of start-up on every CPU."""
        words = self.memory.one(CallAllWords)
        mutex = self.mutex(self.memory.one(MutexWords))
        lock = self.locks.irqsave("wait", words.base + 1)
        return CallAll(self.calls, words, lock, self.wait_queue(words), mutex, function, self.cpus)
