"""Readers and writers on three CPUs, in every order that random numbers find."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Word
from guest.kernel.rwsem import RwSemaphoreWords
from tests.kernel.machine import Machine, nobody_waits


class Inside(Struct):
    readers = Word("wait lock")
    writers = Word("wait lock")


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_writer_is_alone_and_everybody_gets_in(random: Random) -> None:
    machine = Machine(3, random)

    def let_others_run(core: Core) -> None:
        for _ in range(3):
            with core.locks.spin("pages"):
                pass

    async def work(core: Core, rounds: int) -> None:
        semaphore, inside = semaphores[core.cpu], shared[core.cpu]
        for number in range(rounds):
            if (number + core.cpu) % 3:
                async with semaphore.read():
                    assert not inside.writers
                    inside.readers += 1
                    let_others_run(core)
                    inside.readers -= 1
            else:
                async with semaphore.write():
                    assert not inside.writers and not inside.readers
                    inside.writers += 1
                    let_others_run(core)
                    inside.writers -= 1

    semaphores = [core.rw_semaphore(core.memory.one(RwSemaphoreWords)) for core in machine.cores]
    shared = [core.memory.one(Inside) for core in machine.cores]
    with nobody_waits(machine):
        for core in machine.cores:
            core.sched.spawn(work(core, 4), "worker")


def test_a_writer_that_waits_keeps_new_readers_out() -> None:
    machine = Machine(2, None)
    core = machine.cores[0]
    semaphore = core.rw_semaphore(core.memory.one(RwSemaphoreWords))
    order: list[str] = []

    async def hold(name: str, write: bool, turns: int) -> None:
        async with semaphore.write() if write else semaphore.read():
            order.append(name)
            for _ in range(turns):
                await core.sched.pause()

    with nobody_waits(machine):
        core.sched.spawn(hold("first reader", False, 5), "first reader")
        core.sched.spawn(hold("writer", True, 1), "writer")
        core.sched.spawn(hold("second reader", False, 1), "second reader")
    assert order == ["first reader", "writer", "second reader"]
