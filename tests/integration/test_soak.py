"""A soak: what it says at its end, and the journal that it leaves of a failure, along which the simulation goes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.description import CONTROL_PLANE, described
from lab.image import disk_for
from lab.simulation.course import MESSAGES, Course
from lab.simulation.follow import follow
from lab.simulation.steering import SteeredSchedule
from lab.simulation.vm import SimulatedVM
from protocol.errors import ExitCode
from protocol.journal import Record, unpack
from tests.integration.conftest import Lab
from tests.integration.machine import ROOT, inject, nothing_left, started

PATIENCE = 60.0
FOLLOWED = 0.9
"""Of the control messages of a run that ended well; 0.98 and more are usual."""


def records_of(path: Path) -> list[Record]:
    return list(unpack(path.read_bytes()))


@contextmanager
def steered(records: list[Record]) -> Iterator[tuple[SimulatedVM, Course]]:
    """A simulation that is to go the way of a journal."""
    course = Course(records)
    with disk_for(described(records), 0) as spec:
        yield SimulatedVM(spec, SteeredSchedule(course, 1), course), course


@pytest.mark.parametrize(("vm", "policy", "vcpus"), [("small", "rfc", "3"), ("small", "legacy", "2")])
async def test_a_soak_ends_well_and_the_simulation_follows_it(
    vm: str, policy: str, vcpus: str, lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    arguments = ("--vm", vm, "--policy", policy, "--vcpus", vcpus, "--duration", "5s", "--cut", "2s")
    done = lab("soak", *arguments, "--interval", "2s", "--name", "busy", "--trace", path).finished(PATIENCE)
    assert (done.code, done.err) == (0, ""), done
    *lines, last = done.out.splitlines()
    assert last.startswith("End of test: SUCCESS: ")
    assert any("interrupts" in line and "moved" in line for line in lines)
    defects = {line.split()[1] for line in lines if line.startswith("defect")}
    assert defects <= {"D1", "D2", "R8"} if policy == "rfc" else not defects
    assert policy == "legacy" or "D2" in defects
    nothing_left()

    records = records_of(path)
    assert {record.event for record in records} <= {"vm", *CONTROL_PLANE}
    with steered(records) as (simulated, course):
        async with simulated:
            await follow(simulated, course)
    assert course.fraction(MESSAGES) >= FOLLOWED, str(course)


@pytest.fixture
def kept() -> Iterator[Path]:
    """Where a soak of this name leaves its journal."""
    path = ROOT / "soak-broken-3.trace"
    yield path
    path.unlink(missing_ok=True)


def test_a_soak_that_fails_leaves_its_journal_and_says_how_to_go_the_same_way(lab: Lab, kept: Path) -> None:
    command = lab("soak", "--vm", "small", "--vcpus", "2", "--duration", "60s", "--seed", "3", "--name", "broken")
    vm = started("broken")
    for relid in range(1, 32):  # a device that comes back has another
        inject(vm, "host", "suppress_signals", relid=relid)
    done = command.finished(PATIENCE)
    assert (done.code, done.err) == (ExitCode.STRANDED, "")
    *_, end, steer = done.out.splitlines()
    assert end.startswith("End of test: FAILURE: ")
    assert steer.endswith("./launch.sh sim --steer soak-broken-3.trace")
    nothing_left()
    assert {record.event for record in records_of(kept)} >= {"vm", "inject", "post", "message"}


def test_ctrl_c_ends_a_soak_in_one_line_and_nothing_is_left(lab: Lab) -> None:
    before = set(ROOT.iterdir())
    command = lab("soak", "--vm", "small", "--vcpus", "2", "--duration", "60s", "--name", "stopped")
    started("stopped")
    command.send(signal.SIGINT)
    assert command.finished().complained(ExitCode.INTERRUPTED) == "interrupted"
    assert set(ROOT.iterdir()) == before
    nothing_left()


def test_a_steered_run_is_replayed_from_its_own_journal(lab: Lab, tmp_path: Path) -> None:
    real, simulated = tmp_path / "real", tmp_path / "simulated"
    arguments = ("--vm", "small", "--vcpus", "2", "--duration", "1s", "--name", "again")
    assert lab("soak", *arguments, "--trace", real).finished(PATIENCE).code == 0
    steer = lab("sim", "--steer", real, "--trace", simulated).finished(PATIENCE)
    assert (steer.code, steer.err) == (0, "")
    *_, followed, trace_hash = steer.out.splitlines()
    assert followed.startswith("followed ")
    assert trace_hash.startswith("trace hash ")
    assert lab("sim", "--replay", simulated).finished(PATIENCE).out == steer.out
