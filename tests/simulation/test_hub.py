"""What the scheduler finds: races, deadlocks with the names of owner and waiter, and spinning without end."""

from __future__ import annotations

import pytest

from lab.simulation.hub import RELAX, Deadlock
from lab.simulation.locks import SimulatedLock
from tests.simulation.toys import Toys

SEEDS = 100


def count_up(toys: Toys, words: list[int], times: int) -> None:
    """A load, a point, a store: what an increment of a shared word is."""
    for _ in range(times):
        value = words[0]
        toys.hub.point("loaded")
        words[0] = value + 1


def lost_updates(seed: int, locked: bool) -> int:
    toys, words = Toys(seed), [0]
    lock = toys.lock("hv_numa_map/0")

    def work() -> None:
        for _ in range(3):
            if locked:
                lock.acquire()
            count_up(toys, words, 1)
            if locked:
                lock.release()

    toys.cpu("cpu0", work)
    toys.cpu("cpu1", work)
    toys.run()
    return 6 - words[0]


def test_an_update_without_its_lock_is_lost_under_some_schedule() -> None:
    assert any(lost_updates(seed, locked=False) for seed in range(SEEDS))


def test_an_update_under_its_lock_is_lost_under_none() -> None:
    assert not any(lost_updates(seed, locked=True) for seed in range(SEEDS))


def opposite_orders(seed: int) -> Toys:
    """cpu0 takes set_affinity_lock then desc, cpu1 the other way round, and a timer goes on firing for ever."""
    toys = Toys(seed)
    desc, affinity = toys.lock("desc/27"), toys.lock("set_affinity_lock/0")

    def tick() -> None:
        toys.hub.call_later(0.001, tick)

    def work(first: object, second: object) -> None:
        for lock in (first, second):
            lock.acquire()  # type: ignore[attr-defined]
        for lock in (second, first):
            lock.release()  # type: ignore[attr-defined]

    tick()
    toys.cpu("cpu0", lambda: work(affinity, desc))
    toys.cpu("cpu1", lambda: work(desc, affinity))
    return toys


def test_locks_taken_in_opposite_orders_are_a_deadlock_that_names_both_though_timers_go_on_firing() -> None:
    found = []
    for seed in range(SEEDS):
        try:
            opposite_orders(seed).run()
        except Deadlock as deadlock:
            found.append(str(deadlock))
    assert 0 < len(found) < SEEDS
    halves = {
        "cpu0 waits for lock desc/27, which cpu1 holds",
        "cpu1 waits for lock set_affinity_lock/0, which cpu0 holds",
    }
    assert all(set(text.split("; ")) == halves for text in found)


def test_an_interrupt_that_takes_the_lock_of_the_code_under_it_waits_for_itself() -> None:
    """The shape of race R6: a lock that is nested in an interrupt-safe lock, taken with interrupts on."""
    toys = Toys()
    lock = toys.lock("set_affinity_lock/0")
    pending = [True]

    def interrupt() -> None:
        pending.clear()
        lock.acquire()
        lock.release()

    def work() -> None:
        lock.acquire()
        for _ in range(100):
            toys.hub.point("walking the channels")
        lock.release()

    cpu = toys.cpu("cpu0", work)
    cpu.may_interrupt = lambda: bool(pending) and lock.owner is cpu
    cpu.interrupt = interrupt
    with pytest.raises(Deadlock, match=r"^cpu0 waits for lock set_affinity_lock/0, which cpu0 holds$"):
        toys.run()


def test_spinning_for_what_never_comes_ends_in_virtual_time() -> None:
    toys = Toys()

    def work() -> None:
        while True:
            toys.hub.point(RELAX)

    toys.cpu("cpu0", work)
    with pytest.raises(Deadlock, match=r"^cpu0 waits for what it polls in cpu_relax\(\), for 10 s$"):
        toys.run()


def test_spinning_for_a_time_ends_when_it_has_come() -> None:
    toys = Toys()

    def work() -> None:
        while toys.hub.time < 2 * 10_000_000:
            toys.hub.point(RELAX)

    toys.cpu("cpu0", work)
    toys.run()
    assert toys.hub.decisions < 10_000, "time has to jump while everybody spins"


def test_a_greenlet_that_is_ended_lets_go_of_what_it_holds() -> None:
    toys = Toys()
    lock = toys.lock("desc/1")
    let_go = []

    def work() -> None:
        lock.acquire()
        try:
            while True:
                toys.hub.point(RELAX)
        finally:
            lock.release()
            let_go.append(True)

    toys.cpu("cpu0", work)
    toys.hub.run_until(lambda: lock.owner is not None, 1, "the lock")
    toys.hub.close()
    assert let_go and lock.owner is None


def test_a_failure_of_one_participant_lets_the_others_be_ended_inside_their_locks() -> None:
    for seed in range(20):
        toys = Toys(seed)
        lock = toys.lock("desc/1")

        def hold(toys: Toys = toys, lock: SimulatedLock = lock) -> None:
            lock.acquire()
            try:
                while True:
                    toys.hub.point(RELAX)
            finally:
                lock.release()

        def fail(toys: Toys = toys) -> None:
            for _ in range(10):
                toys.hub.point("working")
            raise ZeroDivisionError

        toys.cpu("cpu0", hold)
        toys.cpu("host", fail)
        with pytest.raises(ZeroDivisionError):
            toys.run()
        assert lock.owner is None
        assert all(runner.greenlet.dead or not runner.greenlet for runner in toys.hub.runners)
