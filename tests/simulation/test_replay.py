"""A run happens again: from its seed, and from the decisions in its journal, whatever seeds mean by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.simulation.__main__ import trace_hash
from lab.simulation.schedule import Decision, Kind, Misfit, RecordedSchedule
from lab.spec import VmSpec
from protocol.journal import unpack
from tests.simulation.toys import Toys


def spec(seed: int, policy: str = "rfc", trace: Path | None = None) -> VmSpec:
    return VmSpec(vcpus=2, seed=seed, policy=policy, trace=str(trace) if trace else None)


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_the_same_seed_gives_the_same_trace_and_another_seed_another(policy: str) -> None:
    first = await trace_hash(spec(1, policy))
    assert await trace_hash(spec(1, policy)) == first
    assert await trace_hash(spec(2, policy)) != first


async def test_the_decisions_of_a_journal_give_the_trace_that_they_come_from(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    first = await trace_hash(spec(1, trace=journal))
    decisions = RecordedSchedule.of(unpack(journal.read_bytes()))
    assert await trace_hash(spec(1), decisions) == first


async def test_decisions_that_no_longer_fit_say_which_and_where(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    await trace_hash(spec(1, trace=journal))
    with pytest.raises(Misfit, match=r"^decision \d+ was to .* but now "):
        await trace_hash(spec(1, "legacy"), RecordedSchedule.of(unpack(journal.read_bytes())))


def passing(points: list[str], decisions: list[Decision]) -> None:
    toys = Toys(schedule=RecordedSchedule(decisions))

    def work() -> None:
        for name in points:
            toys.hub.point(name)

    toys.cpu("cpu0", work)
    toys.run()


PREEMPTED_AT_UNMASK = [
    Decision(Kind.RUN, "cpu0", 0),
    Decision(Kind.PREEMPT, "ring.read.unmasked", 2),
    Decision(Kind.RUN, "cpu0", 0),
]


def test_a_regression_is_a_list_of_decisions_keyed_by_the_names_of_points() -> None:
    passing(["lock.desc", "ring.read.unmasked"], PREEMPTED_AT_UNMASK)


def test_one_point_more_in_the_code_is_noticed() -> None:
    with pytest.raises(Misfit, match=r"^decision 1 was to preempt .* after 2 points, but now point 2 is b$"):
        passing(["a", "b", "ring.read.unmasked"], PREEMPTED_AT_UNMASK)


def test_one_point_less_in_the_code_is_noticed() -> None:
    with pytest.raises(Misfit, match=r"^decision 1 was to preempt .*, but now the run is over$"):
        passing(["lock.desc"], PREEMPTED_AT_UNMASK)


def test_a_run_that_goes_on_behind_its_last_decision_is_noticed() -> None:
    with pytest.raises(Misfit, match=r"^the 2 recorded decisions are used up, and the run goes on$"):
        passing(["lock.desc", "ring.read.unmasked"], PREEMPTED_AT_UNMASK[:2])
