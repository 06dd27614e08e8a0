"""What a host tells of a guest that makes mistakes without end."""

from host.complaints import LIMIT, Complaints


def test_a_text_that_comes_again_is_told_once() -> None:
    complaints = Complaints()
    for text in ("no such relid", "too short", "no such relid"):
        complaints.add(text)
    assert complaints.lines() == ["no such relid (2 times)", "too short"]


def test_a_guest_that_says_something_new_each_time_costs_no_memory() -> None:
    complaints = Complaints()
    for number in range(3 * LIMIT):
        complaints.add(f"no relid {number}")
    complaints.add("no relid 0")
    assert complaints.lines()[0] == "no relid 0 (2 times)"
    assert complaints.lines()[LIMIT:] == [f"and {2 * LIMIT} more"]
