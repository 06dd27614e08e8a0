"""The order of work on one CPU, and the rules about interrupts, locks and tasks."""

from __future__ import annotations

import pytest

from guest.kernel.sched import park
from guest.kernel.tasklet import TaskletWords
from tests.kernel.machine import Machine

LOW, HIGH, UNUSED = 0x40, 0x50, 0x60


class Log:
    """One CPU that writes down what it does."""

    def __init__(self) -> None:
        self.machine = Machine(1)
        self.core = self.machine.cores[0]
        self.entries: list[str] = []
        for name, vector in (("low", LOW), ("high", HIGH)):
            self.core.vectors[vector] = lambda name=name: self.entries.append(name)  # type: ignore[misc]
        self.tasklet = self.core.tasklet(self.core.memory.one(TaskletWords), lambda: self.entries.append("tasklet"))

    def raise_vector(self, *vectors: int) -> None:
        for vector in vectors:
            self.core.port.raise_vector(vector)

    async def task(self) -> None:
        self.entries.append("task")


@pytest.fixture
def log() -> Log:
    return Log()


def test_interrupts_come_first_then_softirqs_then_tasks(log: Log) -> None:
    log.core.sched.spawn(log.task(), "task")
    log.tasklet.schedule()
    log.raise_vector(LOW, HIGH)
    assert not log.core.run()
    # The highest vector first; softirqs run when its handler returns, and the other vector comes in between.
    assert log.entries == ["high", "low", "tasklet", "task"]


def test_a_vector_without_a_handler_is_counted(log: Log) -> None:
    log.raise_vector(UNUSED)
    log.core.run()
    assert log.core.spurious_vectors == 1


def test_interrupts_that_came_while_they_were_off_are_all_taken_when_they_are_on(log: Log) -> None:
    log.core.disable()
    log.core.disable()
    log.raise_vector(LOW, HIGH)
    log.core.enable()
    assert log.entries == []
    log.core.enable()
    assert log.entries == ["high", "low"]


def test_an_irqsave_lock_takes_what_came_meanwhile_when_it_is_released(log: Log) -> None:
    with log.core.locks.irqsave("desc"):
        log.raise_vector(LOW)
        log.core.poll()
        assert log.entries == []
    assert log.entries == ["low"]


def test_a_plain_spin_lock_leaves_interrupts_alone(log: Log) -> None:
    with log.core.locks.spin("pages"):
        log.raise_vector(LOW)
        log.core.poll()
        assert log.entries == ["low"]


def test_interrupts_are_taken_when_a_call_to_the_host_returns(log: Log) -> None:
    log.raise_vector(LOW)
    log.core.port.after_call()
    assert log.entries == ["low"]


def test_a_handler_is_not_interrupted_by_its_own_locks(log: Log) -> None:
    def handler() -> None:
        log.raise_vector(LOW)
        with log.core.locks.irqsave("desc"):
            pass
        log.entries.append("end of handler")

    log.core.vectors[HIGH] = handler
    log.raise_vector(HIGH)
    log.core.run()
    assert log.entries == ["end of handler", "low"]


def test_softirqs_are_interrupted_and_do_not_nest(log: Log) -> None:
    def function() -> None:
        log.entries.append("begin")
        other.schedule()
        log.raise_vector(LOW)
        log.core.poll()
        log.entries.append("end")

    other = log.tasklet
    first = log.core.tasklet(log.core.memory.one(TaskletWords), function)
    first.schedule()
    log.core.run()
    assert log.entries == ["begin", "low", "end", "tasklet"]


def test_softirqs_run_when_the_interrupt_that_scheduled_them_returns(log: Log) -> None:
    log.core.vectors[HIGH] = lambda: log.tasklet.schedule()
    log.core.disable()
    log.raise_vector(HIGH)
    log.core.enable()
    assert log.entries == ["tasklet"]


def test_a_task_goes_on_though_a_tasklet_schedules_itself_for_ever(log: Log) -> None:
    tasklet = log.core.tasklet(log.core.memory.one(TaskletWords), lambda: tasklet.schedule())
    tasklet.schedule()
    log.core.sched.spawn(log.task(), "task")
    assert log.core.run(), "there is work left"
    assert log.entries == ["task"]


def test_a_task_goes_on_and_can_enable_the_tasklet_that_is_scheduled_and_disabled(log: Log) -> None:
    async def task() -> None:
        await log.core.sched.pause()
        log.entries.append("enable")
        log.tasklet.enable()

    log.tasklet.disable()
    log.tasklet.schedule()
    assert log.core.run(), "it stays scheduled"
    log.core.sched.spawn(task(), "task")
    assert not log.core.run()
    assert log.entries == ["enable", "tasklet"]


def test_tasks_take_turns(log: Log) -> None:
    async def task(name: str) -> None:
        for _ in range(2):
            log.entries.append(name)
            await log.core.sched.pause()

    log.core.sched.spawn(task("a"), "a")
    log.core.sched.spawn(task("b"), "b")
    log.core.run()
    assert log.entries == ["a", "b", "a", "b"]


def test_the_budget_ends_a_run_with_work_left(log: Log) -> None:
    async def task() -> None:
        while True:
            await log.core.sched.pause()

    log.core.sched.spawn(task(), "for ever")
    assert log.core.run(budget=5)


def test_a_task_that_is_woken_while_it_runs_for_the_last_time_is_not_run_again(log: Log) -> None:
    async def task() -> None:
        me = log.core.sched.current
        assert me is not None
        me.wake()

    ended = log.core.sched.spawn(task(), "last words")
    assert not log.core.run()
    assert ended.finished


def test_a_task_that_parks_with_a_spin_lock_held_is_a_bug(log: Log) -> None:
    async def task() -> None:
        with log.core.locks.spin("pages"):
            await park()

    log.core.sched.spawn(task(), "careless")
    with pytest.raises(AssertionError, match="careless parked while holding a spin lock"):
        log.core.run()


def test_a_task_that_fails_stops_its_cpu(log: Log) -> None:
    async def task() -> None:
        raise ValueError("oops")

    failed = log.core.sched.spawn(task(), "bad")
    with pytest.raises(RuntimeError, match="kernel task bad failed: ValueError"):
        log.core.run()
    assert isinstance(failed.failure, ValueError)


def test_a_core_that_is_run_with_interrupts_off_is_a_bug(log: Log) -> None:
    log.core.disable()
    with pytest.raises(AssertionError, match="interrupts are off"):
        log.core.run()
