"""Function calls to other CPUs (``smp_call_function_single_async``), by queue in kernel memory and interrupt.

The interrupt is a real message through the hypervisor, as on Hyper-V; an already filled queue needs none. Functions are
numbered in the order in which they are registered, which is the same on every CPU.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.kernel.locks import Interrupts, IrqSpinLock
from guest.kernel.memory import Array, Struct, Table, Word
from guest.kernel.wait import Mutex, WaitQueue, WaitWords
from protocol.ids import Cpu

DEPTH = 1024
"""Entries per CPU. Callers are bounded (one per request tag and one per task), so a full queue is a bug."""


class CallQueue(Struct):
    """``call_single_queue`` of one CPU: a ring of (function number, argument)."""

    closed = Word("queue lock")  # the CPU is offline: nothing is put in
    head = Word("queue lock")
    tail = Word("queue lock")
    function = Array(DEPTH, "queue lock")
    argument = Array(DEPTH, "queue lock")


class CallAllWords(WaitWords):
    """``smp_call_function`` with wait: how many CPUs have still to run the function."""

    left = Word("wait lock")


class CrossCalls:
    """One CPU's view of the call queues of all."""

    def __init__(
        self,
        cpu: Cpu,
        queues: Table[CallQueue],
        locks: list[IrqSpinLock],
        send_interrupt: Callable[[Cpu], None],
        interrupts: Interrupts,
    ) -> None:
        self.cpu = cpu
        self._queues = queues
        self._locks = locks
        self._send_interrupt = send_interrupt
        self._interrupts = interrupts
        self._functions: list[Callable[[int], None]] = []

    def register(self, function: Callable[[int], None]) -> int:
        """The number of ``function``. Register the same functions in the same order on every CPU."""
        self._functions.append(function)
        return len(self._functions) - 1

    def call(self, cpu: Cpu, function: int, argument: int) -> bool:
        """Run ``function(argument)`` on ``cpu``, interrupts off, soon; on this CPU at once. False: it is offline."""
        if cpu == self.cpu:
            self._interrupts.disable()
            self._functions[function](argument)
            self._interrupts.enable()
            return True
        queue = self._queues[cpu]
        with self._locks[cpu]:
            if queue.closed:
                return False
            tail = queue.tail
            was_empty = queue.head == tail
            assert tail - queue.head < DEPTH, f"call queue of CPU {cpu} is full"
            queue.function[tail % DEPTH] = function
            queue.argument[tail % DEPTH] = argument
            queue.tail = tail + 1
        if was_empty:
            self._send_interrupt(cpu)
        return True

    def offline(self, cpu: Cpu) -> bool:
        """Whether ``cpu`` takes no calls. What Linux learns from cpu_online_mask, which stop-machine keeps steady."""
        return bool(self._queues[cpu].closed)

    def open(self) -> None:
        """This CPU comes online: it takes calls from now on."""
        with self._locks[self.cpu]:
            self._queues[self.cpu].closed = 0

    def close(self) -> None:
        """``smpcfd_dying_cpu``: this CPU takes no more calls, and runs those that it was sent. Interrupts are off."""
        with self._locks[self.cpu]:
            self._queues[self.cpu].closed = 1
        self.interrupt()

    def interrupt(self) -> None:
        """``flush_smp_call_function_queue``: run what is queued for this CPU."""
        queue = self._queues[self.cpu]
        lock = self._locks[self.cpu]
        while True:
            with lock:
                head = queue.head
                if head == queue.tail:
                    return
                function = queue.function[head % DEPTH]
                argument = queue.argument[head % DEPTH]
                queue.head = head + 1
            self._functions[function](argument)


class CallAll:
    """``on_each_cpu(function, argument, wait=1)``: returns when every CPU that is online has run the function.

    An interrupt is never taken inside a hard handler, so this is also the grace period that Linux gets from RCU: a
    handler that looked something up before has finished with it. Softirqs and tasks are interrupted and not waited
    for: disable the tasklet first.
    """

    def __init__(
        self,
        calls: CrossCalls,
        words: CallAllWords,
        lock: IrqSpinLock,
        queue: WaitQueue,
        mutex: Mutex,
        function: Callable[[int], None],
        cpus: int,
    ) -> None:
        self._calls = calls
        self._words = words
        self._lock = lock
        self._queue = queue
        self._mutex = mutex
        self._function = function
        self._cpus = cpus
        self._number = calls.register(self._run)

    def _run(self, argument: int) -> None:
        self._function(argument)
        self._one_less()

    def _one_less(self) -> None:
        with self._lock:
            self._words.left -= 1
            last = not self._words.left
        if last:
            self._queue.wake_up()

    async def __call__(self, argument: int) -> None:
        words = self._words
        async with self._mutex:
            words.left = self._cpus
            for cpu in range(self._cpus):
                if not self._calls.call(Cpu(cpu), self._number, argument):
                    self._one_less()
            await self._queue.wait_event(lambda: words.left == 0)
