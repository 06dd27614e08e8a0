"""Tasklets and function calls across CPUs."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from guest.kernel.core import CALL_FUNCTION_SINGLE_VECTOR, Core
from guest.kernel.memory import Struct, Word
from guest.kernel.smp import DEPTH
from guest.kernel.tasklet import Tasklet, TaskletWords
from protocol.ids import Cpu
from tests.kernel.machine import Machine, nobody_waits

RANDOM = st.randoms(use_true_random=False)


class Ring(Struct):
    """What a tasklet consumes."""

    produced = Word("produce lock")
    consumed = Word("the tasklet")
    inside = Word("the tasklet")
    runs = Word("the tasklet")


class Consumer:
    """One CPU's view of a tasklet that consumes what both CPUs produce."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.ring = core.memory.one(Ring)
        self.lock = core.locks.irqsave("produce")
        self.tasklet: Tasklet = core.tasklet(core.memory.one(TaskletWords), self.consume)

    def consume(self) -> None:
        ring = self.ring
        assert not ring.inside, "on one CPU at a time"
        ring.inside = 1
        ring.runs += 1
        produced = ring.produced
        with self.lock:
            pass  # somewhere to be interrupted
        ring.consumed = produced
        ring.inside = 0

    async def produce(self, times: int) -> None:
        for _ in range(times):
            with self.lock:
                self.ring.produced += 1
            self.tasklet.schedule()
            await self.core.sched.pause()


def test_scheduling_twice_before_it_runs_is_scheduling_once() -> None:
    machine = Machine(1)
    consumer = Consumer(machine.cores[0])
    consumer.tasklet.schedule()
    consumer.tasklet.schedule()
    machine.settle()
    assert consumer.ring.runs == 1


def test_a_tasklet_scheduled_on_one_cpu_runs_there_though_another_schedules_it_again() -> None:
    machine = Machine(2)
    first, second = (Consumer(core) for core in machine.cores)
    first.tasklet.schedule()
    second.tasklet.schedule()
    assert machine.cores[0].softirqs and not machine.cores[1].softirqs
    machine.settle()
    assert first.ring.runs == 1


def test_a_tasklet_scheduled_while_it_runs_runs_once_more() -> None:
    machine = Machine(1)
    core = machine.cores[0]
    left = [3]

    def function() -> None:
        left[0] -= 1
        if left[0]:
            tasklet.schedule()

    tasklet = core.tasklet(core.memory.one(TaskletWords), function)
    tasklet.schedule()
    machine.settle()
    assert left == [0]


def test_a_tasklet_that_runs_on_another_cpu_stays_scheduled_here() -> None:
    machine = Machine(2)
    words = [core.memory.one(TaskletWords) for core in machine.cores]
    ran: list[int] = []

    def on_cpu_0() -> None:
        ran.append(0)
        if len(ran) == 1:
            tasklets[1].schedule()
            assert machine.cores[1].run(), "CPU 1 has it and cannot run it"
            assert not tasklets[1].idle

    tasklets = [
        machine.cores[0].tasklet(words[0], on_cpu_0),
        machine.cores[1].tasklet(words[1], lambda: ran.append(1)),
    ]
    tasklets[0].schedule()
    machine.settle()
    assert ran == [0, 1]
    assert tasklets[0].idle


@settings(max_examples=100, deadline=None)
@given(RANDOM)
def test_whatever_is_produced_before_a_schedule_is_consumed_on_one_cpu_at_a_time(random: Random) -> None:
    machine = Machine(2, random)
    consumers = [Consumer(core) for core in machine.cores]
    for consumer in consumers:
        consumer.core.sched.spawn(consumer.produce(4), "producer")
    machine.settle()
    assert consumers[0].ring.consumed == consumers[0].ring.produced == 8


def test_a_call_runs_on_its_cpu_with_interrupts_off_also_on_ones_own() -> None:
    machine = Machine(2)
    ran: list[tuple[int, int, bool]] = []
    for core in machine.cores:
        core.calls.register(lambda argument, core=core: ran.append((core.cpu, argument, core.interruptible)))  # type: ignore[misc]
    machine.cores[0].calls.call(Cpu(0), 0, 10)
    machine.cores[0].calls.call(Cpu(1), 0, 11)
    machine.settle()
    assert ran == [(0, 10, False), (1, 11, False)]


def test_calls_to_one_cpu_keep_their_order_and_share_an_interrupt() -> None:
    machine = Machine(2)
    ran: list[int] = []
    for core in machine.cores:
        core.calls.register(ran.append)
    for argument in range(DEPTH):
        machine.cores[0].calls.call(Cpu(1), 0, argument)
    assert machine.ipis(0) == [CALL_FUNCTION_SINGLE_VECTOR]
    machine.settle()
    assert ran == list(range(DEPTH))


@settings(max_examples=100, deadline=None)
@given(RANDOM)
def test_every_call_runs_exactly_once_in_any_order_of_the_cpus(random: Random) -> None:
    machine = Machine(3, random)
    ran: list[tuple[int, int]] = []
    for core in machine.cores:
        core.calls.register(lambda argument, core=core: ran.append((core.cpu, argument)))  # type: ignore[misc]

    async def call(core: Core) -> None:
        for number in range(3):
            for cpu in range(3):
                core.calls.call(Cpu(cpu), 0, core.cpu * 10 + number)
            await core.sched.pause()

    for core in machine.cores:
        core.sched.spawn(call(core), "caller")
    machine.settle()
    for target in range(3):
        for caller in range(3):
            heard = [argument for cpu, argument in ran if cpu == target and argument // 10 == caller]
            assert heard == [caller * 10 + number for number in range(3)]


@settings(max_examples=60, deadline=None)
@given(RANDOM)
def test_call_on_all_returns_when_every_cpu_has_run_the_function_whoever_else_calls(random: Random) -> None:
    machine = Machine(3, random)
    ran: list[tuple[int, int]] = []
    everywhere = [
        core.call_on_all(lambda argument, core=core: ran.append((argument, core.cpu)))  # type: ignore[misc]
        for core in machine.cores
    ]

    async def publish(core: Core) -> None:
        for number in range(2):
            argument = core.cpu * 10 + number
            await everywhere[core.cpu](argument)
            assert sorted(cpu for which, cpu in ran if which == argument) == [0, 1, 2]

    with nobody_waits(machine):
        for core in machine.cores:
            core.sched.spawn(publish(core), f"publisher {core.cpu}")
    assert len(ran) == 18
