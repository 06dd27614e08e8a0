"""Waiting for what another CPU does, under every order of two or three CPUs that random numbers find."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest.kernel.core import RESCHEDULE_VECTOR, Core
from guest.kernel.memory import Struct, Word
from guest.kernel.sched import park
from guest.kernel.wait import CompletionWords, MutexWords, WaitQueue, WaitWords
from tests.kernel.machine import Machine, Stranded, nobody_waits

RANDOM = st.randoms(use_true_random=False)


class Shared(Struct):
    ready = Word("CPU 1")
    inside = Word("whoever holds the mutex")
    total = Word("whoever holds the mutex")


class BrokenQueue(WaitQueue):
    """Looks first and announces itself afterwards."""

    async def wait_event(self, condition: Callable[[], bool], *others: WaitQueue) -> None:
        core = self._core
        task = core.sched.current
        assert task is not None
        while not condition():
            core.parked[task] = None
            with self._lock:
                self._words.waiters |= 1 << core.cpu
            await park()
        core.parked.pop(task, None)


def meet(machine: Machine, queue: type[WaitQueue]) -> None:
    """CPU 0 waits for a word that CPU 1 stores before it wakes the queue."""
    shared = [core.memory.one(Shared) for core in machine.cores]
    words = [core.memory.one(WaitWords) for core in machine.cores]
    queues = [queue(words[n], core.locks.irqsave("wait", words[n].base), core) for n, core in enumerate(machine.cores)]

    async def waiter() -> None:
        await queues[0].wait_event(lambda: shared[0].ready == 1)

    async def waker() -> None:
        shared[1].ready = 1
        queues[1].wake_up()

    with nobody_waits(machine):
        machine.cores[0].sched.spawn(waiter(), "waiter")
        machine.cores[1].sched.spawn(waker(), "waker")


@settings(max_examples=200, deadline=None)
@given(RANDOM)
def test_no_wake_up_is_lost_in_any_order(random: Random) -> None:
    meet(Machine(2, random), WaitQueue)


def test_a_queue_that_looks_before_it_announces_itself_loses_wake_ups() -> None:
    stranded = 0
    for seed in range(100):
        try:
            meet(Machine(2, Random(seed)), BrokenQueue)
        except Stranded:
            stranded += 1
    assert stranded


def test_a_condition_that_holds_is_not_waited_for() -> None:
    machine = Machine(1)
    queue = machine.cores[0].wait_queue(machine.cores[0].memory.one(WaitWords))
    task = machine.cores[0].sched.spawn(queue.wait_event(lambda: True), "waiter")
    machine.cores[0].run()
    assert task.finished and not machine.cores[0].parked


@settings(max_examples=60, deadline=None)
@given(RANDOM)
def test_every_waiter_of_every_cpu_is_woken(random: Random) -> None:
    machine = Machine(3, random)
    done = [core.completion(core.memory.one(CompletionWords)) for core in machine.cores]

    async def complete() -> None:
        done[1].complete()

    with nobody_waits(machine):
        for core in machine.cores:
            for number in range(2):
                core.sched.spawn(done[core.cpu].wait(), f"{core.cpu}/{number}")
        machine.cores[1].sched.spawn(complete(), "completer")


@settings(max_examples=60, deadline=None)
@given(RANDOM)
def test_a_completion_can_be_used_again_and_again(random: Random) -> None:
    machine = Machine(2, random)
    asked = [core.completion(core.memory.one(CompletionWords)) for core in machine.cores]
    answered = [core.completion(core.memory.one(CompletionWords)) for core in machine.cores]
    log: list[str] = []

    async def client() -> None:
        for number in range(5):
            answered[0].reinit()
            log.append(f"question {number}")
            asked[0].complete()
            await answered[0].wait()

    async def server() -> None:
        for number in range(5):
            await asked[1].wait()
            asked[1].reinit()
            log.append(f"answer {number}")
            answered[1].complete()

    with nobody_waits(machine):
        machine.cores[0].sched.spawn(client(), "client")
        machine.cores[1].sched.spawn(server(), "server")
    assert log == [f"{what} {number}" for number in range(5) for what in ("question", "answer")]


@settings(max_examples=60, deadline=None)
@given(RANDOM)
def test_a_mutex_lets_one_task_in_at_a_time_and_everybody_in_the_end(random: Random) -> None:
    machine = Machine(3, random)
    shared = [core.memory.one(Shared) for core in machine.cores]
    mutexes = [core.mutex(core.memory.one(MutexWords)) for core in machine.cores]

    async def work(core: Core) -> None:
        mine = shared[core.cpu]
        for _ in range(3):
            async with mutexes[core.cpu]:
                assert mine.inside == 0
                mine.inside = 1
                total = mine.total
                await core.sched.pause()
                mine.total = total + 1
                mine.inside = 0

    with nobody_waits(machine):
        for core in machine.cores:
            for number in range(2):
                core.sched.spawn(work(core), f"{core.cpu}/{number}")
    assert shared[0].total == 18


def test_a_mutex_is_released_by_its_owner() -> None:
    machine = Machine(2)
    mutexes = [core.mutex(core.memory.one(MutexWords)) for core in machine.cores]

    async def take() -> None:
        await mutexes[0].__aenter__()

    async def release() -> None:
        await mutexes[1].__aexit__(None, None, None)

    machine.cores[0].sched.spawn(take(), "taker")
    machine.settle()
    machine.cores[1].sched.spawn(release(), "other")
    with pytest.raises(RuntimeError, match="released by its owner"):
        machine.settle()


def test_only_a_cpu_that_waits_is_interrupted_and_only_once() -> None:
    machine = Machine(3)
    done = [core.completion(core.memory.one(CompletionWords)) for core in machine.cores]
    machine.cores[0].sched.spawn(done[0].wait(), "waiter")
    machine.settle()
    done[1].complete()
    done[1].complete()
    machine.settle()
    assert machine.ipis(1) == [RESCHEDULE_VECTOR]
    assert not machine.cores[0].parked


def test_waiting_with_a_time_out_ends_with_either() -> None:
    machine = Machine(1)
    core = machine.cores[0]
    word = core.memory.one(Shared)
    results: list[tuple[str, bool, int]] = []

    async def wait(name: str, seconds: float) -> None:
        held = await core.wait_until(lambda: word.ready == 1, seconds)
        results.append((name, held, machine.time))

    async def wake() -> None:
        await core.sleep(2.0)
        word.ready = 1
        core.wake_parked()

    core.sched.spawn(wait("early", 1.0), "early")
    core.sched.spawn(wait("patient", 5.0), "patient")
    core.sched.spawn(wake(), "waker")
    machine.pass_time()
    assert results == [("early", False, 10_000_000), ("patient", True, 20_000_000)]
    assert machine.time == 20_000_000, "the timer of the patient one is cancelled"
    assert not core.parked


@pytest.mark.parametrize(("after", "held"), [(0.5, True), (2.0, False)])
def test_a_completion_is_waited_for_no_longer_than_one_cares(after: float, held: bool) -> None:
    machine = Machine(2)
    done = [core.completion(core.memory.one(CompletionWords)) for core in machine.cores]
    results: list[bool] = []

    async def wait() -> None:
        results.append(await done[0].wait_timeout(1.0))

    async def complete() -> None:
        await machine.cores[1].sleep(after)
        done[1].complete()

    machine.cores[0].sched.spawn(wait(), "waiter")
    machine.cores[1].sched.spawn(complete(), "completer")
    machine.pass_time()
    assert results == [held]
    assert not machine.cores[0].parked and not machine.cores[0].sched.tasks
