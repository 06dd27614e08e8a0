"""The simulation along the course of a real run: toys that do what a journal says, in its order."""

from __future__ import annotations

import pytest

from lab.simulation.course import Course
from lab.simulation.steering import SteeredSchedule, Steering
from protocol.journal import Record, unpack
from tests.simulation.toys import Toys

MILLISECOND = 10_000


def says(time: int, who: str, line: str) -> Record:
    return Record(time * MILLISECOND, who, "printk", (line,))


def asks(time: int, what: str) -> Record:
    return Record(time * MILLISECOND, "host", "operator", (what, {}))


class Stage:
    """CPUs that each say their lines, one after the other, under the order of a real run; what came, in order."""

    def __init__(self, *records: Record, seed: int = 1) -> None:
        self.came: list[str] = []
        self.course = Course(records)
        self.toys = Toys(schedule=SteeredSchedule(self.course, seed))
        self.steering = Steering(self.course, self.toys.hub, lambda record: self.came.append(record.fields[0]))

    def say(self, who: str, line: str) -> None:
        self.came.append(line)
        self.steering.met(Record(self.toys.hub.time, who, "printk", (line,)))

    def cpu(self, name: str, *lines: str) -> None:
        """One that says one line after the other, and may be kept waiting before each."""
        left = list(reversed(lines))
        self.toys.hub.add(name, lambda: self.say(name, left.pop()), lambda: bool(left))

    def run(self) -> None:
        """To the end of the course."""
        self.toys.hub.run_until(lambda: self.course.next is None, 10, "the end of the course")
        self.toys.hub.close()


@pytest.mark.parametrize("seed", range(10))
def test_who_was_first_in_the_real_run_goes_first(seed: int) -> None:
    order = ["c", "a", "b"]
    stage = Stage(*(says(number, f"cpu {line}", line) for number, line in enumerate(order)), seed=seed)
    for line in sorted(order):
        stage.cpu(f"cpu {line}", line)
    stage.run()
    assert str(stage.course) == "followed 3 of 3 events"


def test_most_seeds_keep_the_order_of_two_that_talk_by_turns() -> None:
    def kept(seed: int) -> bool:
        stage = Stage(*(says(number, f"cpu{number % 2}", "abcdefgh"[number]) for number in range(8)), seed=seed)
        stage.cpu("cpu0", *"aceg")
        stage.cpu("cpu1", *"bdfh")
        stage.run()
        return stage.came == list("abcdefgh")

    assert sum(map(kept, range(100))) > 40, "by chance it would be one in seventy"


def test_what_came_from_outside_comes_at_its_place_and_the_clock_goes_along() -> None:
    stage = Stage(says(1, "cpu0", "before"), asks(50, "rescind"), says(70, "cpu0", "after"))
    hub = stage.toys.hub
    stage.cpu("cpu0", "before")
    hub.run_until(lambda: "rescind" in stage.came, 1, "the operator's turn")
    assert stage.came == ["before", "rescind"]
    assert 50 * MILLISECOND <= hub.time < 51 * MILLISECOND
    stage.say("cpu0", "after")
    assert stage.course.next is None
    hub.close()


def test_a_timer_goes_off_before_what_came_behind_it_in_the_real_run() -> None:
    stage = Stage(says(1, "cpu0", "armed"), asks(20, "offer"))
    stage.cpu("cpu0", "armed")
    stage.toys.hub.call_later(0.010, lambda: stage.came.append("timer"))
    stage.toys.hub.run_until(lambda: "offer" in stage.came, 1, "the operator's turn")
    assert stage.came == ["armed", "timer", "offer"]
    stage.toys.hub.close()


def test_where_the_orders_part_it_says_so_and_goes_on_behind_it() -> None:
    stage = Stage(says(1, "cpu0", "a"), says(2, "cpu0", "never"), asks(3, "offer"), says(4, "cpu0", "b"))
    stage.cpu("cpu0", "a")
    stage.toys.hub.run_until(lambda: "offer" in stage.came, 1, "the operator's turn")
    stage.say("cpu0", "b")
    assert str(stage.course) == "followed 2 of 3 events; parted first at 0.002000 s: cpu0 printk never"
    stage.toys.hub.close()


def test_records_of_one_participant_may_come_in_another_order() -> None:
    course = Course([says(1, "cpu0", "x"), says(2, "cpu0", "y"), says(3, "cpu1", "z")])
    assert [course.meet(says(9, "cpu0", line)) for line in ("y", "x", "x")] == [True, True, False]
    assert course.place_of("cpu0") == 3
    assert course.place_of("cpu1") == 2
    assert course.next is not None
    assert course.next.record.who == "cpu1"


def test_a_course_is_read_again_from_the_journal_of_the_run_that_followed_it() -> None:
    course = Course([says(1, "cpu0", "x"), asks(2, "rescind")])
    again = Course.within([Record(0, "lab", "vm", ("{}",)), course.opening()])
    assert again is not None
    assert [step.record for step in again.steps] == [step.record for step in course.steps]
    assert Course.within(list(unpack(b""))) is None
