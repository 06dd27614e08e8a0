"""The journal of a run: what every process did, in one order, readable whatever became of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lab.trace import lines
from protocol.errors import ExitCode
from protocol.journal import Record, unpack
from tests.integration.conftest import Lab
from tests.integration.machine import make_image, nothing_left, reading, started

HANDSHAKE = ["InitiateContact", "VersionResponse", "RequestOffers", "OfferChannel"]


@pytest.fixture
def trace(lab: Lab, tmp_path: Path) -> Path:
    """The trace of a short run."""
    path = tmp_path / "run.trace"
    assert (
        lab("run", "--vm", "small", "--vcpus", "2", "--duration", "0.1", "--trace", path, "--name", "traced")
        .finished()
        .code
        == 0
    )
    nothing_left()
    return path


def test_a_trace_tells_the_run_from_the_first_message_on(trace: Path) -> None:
    records = list(unpack(trace.read_bytes()))
    assert [record.time for record in records] == sorted(record.time for record in records)
    assert {record.who for record in records} >= {"host", "cpu0"}
    messages = [line.split()[6] for line in lines(trace.read_bytes(), None, None, True)]
    assert messages[:4] == HANDSHAKE
    assert messages.count("OfferChannel") == 5
    assert messages.count("OpenChannelResult") == 4
    doorbells = [record for record in records if record.event == "doorbell"]
    assert doorbells


def test_a_trace_is_filtered_by_who_by_event_and_by_message(trace: Path, lab: Lab) -> None:
    def printed(*arguments: str) -> list[str]:
        done = lab("trace", trace, *arguments).finished()
        assert (done.code, done.err) == (0, "")
        return done.out.splitlines()

    everything = printed()
    assert len(everything) == len(list(unpack(trace.read_bytes())))
    assert printed("--who", "cpu0") == [line for line in everything if line.split()[1] == "cpu0"] != []
    assert printed("--event", "doorbell") == [line for line in everything if line.split()[2] == "doorbell"] != []
    messages = [line for line in everything if line.split()[2] in ("post", "message")]
    assert printed("--message") == messages != []
    assert printed("--message", "--who", "cpu1") == []


def test_a_trace_survives_the_death_of_a_worker(lab: Lab, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 64 << 20)
    path = tmp_path / "killed.trace"
    command = lab(
        "run", "--vm", "small", "--vcpus", "2", "--disk", tmp_path / "disk.img", "--trace", path, "--name", "cut"
    )
    vm = started("cut")
    reading(vm)
    os.kill(vm.pids["cpu0"], signal.SIGKILL)
    command.finished().complained(ExitCode.PROCESS_DIED)
    records = list(unpack(path.read_bytes()))
    assert {record.who for record in records} >= {"host", "cpu0"}
    assert any(record.event == "doorbell" for record in records)
    assert list(tmp_path.glob("tmp*")) == [], "the journals of the processes have no names"
    nothing_left()


def test_half_a_record_at_the_end_does_no_harm(trace: Path) -> None:
    data = trace.read_bytes()
    whole: list[Record] = list(unpack(data))
    assert list(unpack(data[:-3])) == whole[:-1]
