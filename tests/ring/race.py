"""Two CPUs, each with a store buffer, in every order that the points of a ring allow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from greenlet import getcurrent, greenlet

from protocol.ring import RingMemory


class StoreBuffer:
    """One CPU's sight of a control page, as x86-64 allows it: own stores are seen by others only when drained.

    The worst case is modelled: a store stays in the buffer until a fence, or until the CPU enters the kernel.
    """

    def __init__(self, shared: memoryview) -> None:
        self.shared = shared
        self.pending: dict[int, int] = {}

    def __setitem__(self, word: int, value: int) -> None:
        self.pending[word] = value

    def __getitem__(self, word: int) -> int:
        return self.pending.get(word, self.shared[word])

    def drain(self) -> None:
        for word, value in self.pending.items():
            self.shared[word] = value
        self.pending.clear()


@dataclass
class Cpu:
    """A greenlet with a store buffer. It sleeps until its bell rings, and rings the bell of the other."""

    memory: RingMemory
    buffer: StoreBuffer
    scheduler: Any = field(default_factory=getcurrent)
    body: Any = None
    asleep: bool = False
    bell: bool = False

    @classmethod
    def of(cls, ring: RingMemory) -> "Cpu":
        buffer = StoreBuffer(ring.control)
        return cls(replace(ring, control=cast(memoryview, buffer)), buffer)

    def point(self, name: str) -> None:
        self.scheduler.switch()

    def fence(self) -> None:
        self.buffer.drain()

    def ring(self, other: "Cpu") -> None:
        """A doorbell is a system call, and so a fence."""
        self.buffer.drain()
        other.bell = True

    def sleep(self) -> None:
        """On the way into the kernel there is time for the other CPU too."""
        self.scheduler.switch()
        self.buffer.drain()
        self.asleep = not self.bell
        self.bell = False
        if self.asleep:
            self.scheduler.switch()

    def done(self) -> bool:
        return bool(self.body.dead)

    def ready(self) -> bool:
        return not self.done() and (not self.asleep or self.bell)

    def run(self) -> None:
        if self.asleep:
            self.asleep = self.bell = False
        self.body.switch()
        if self.done():
            self.buffer.drain()


Choose = Callable[[int], int]


def run(first: Cpu, second: Cpu, bodies: tuple[Callable[[], None], Callable[[], None]], choose: Choose) -> bool:
    """One order of events. True if both came to their end; False if one sleeps and nobody will ever wake it."""
    cpus = (first, second)
    for cpu, body in zip(cpus, bodies, strict=True):
        cpu.body = greenlet(body)
    while ready := [cpu for cpu in cpus if cpu.ready()]:
        ready[choose(len(ready)) if len(ready) > 1 else 0].run()
    return all(cpu.done() for cpu in cpus)


def every_order(scenario: Callable[[Choose], bool]) -> Iterator[bool]:
    """Run ``scenario`` once for each sequence of answers that its questions allow; its results one by one."""
    answers: list[tuple[int, int]] = []
    while True:
        asked = 0

        def choose(alternatives: int) -> int:
            nonlocal asked
            if asked == len(answers):
                answers.append((0, alternatives))
            asked += 1
            return answers[asked - 1][0]

        yield scenario(choose)
        while answers and answers[-1][0] == answers[-1][1] - 1:
            answers.pop()
        if not answers:
            return
        answers[-1] = (answers[-1][0] + 1, answers[-1][1])
