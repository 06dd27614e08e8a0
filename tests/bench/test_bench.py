"""The measurements run and judge; how fast anything is, is not tested here."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import msgpack
import pytest

from bench import dispatch, main, round_trips
from bench.figures import Figure, Verdict, ratios
from bench.pairs import PairFailed, Pairs
from bench.rounds import fastest
from protocol.errors import ExitCode


def quiet(what: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little of everything as there can be."""
    monkeypatch.setattr(round_trips, "STARTS", 1)
    monkeypatch.setattr(round_trips, "SLICES", 2)
    monkeypatch.setattr(round_trips, "WARM_UP", 10)
    monkeypatch.setattr(main, "TRIPS", 20)
    monkeypatch.setattr(main, "FLAGS", 640)
    monkeypatch.setattr(main, "MAPPED", (8, 40))
    monkeypatch.setattr(main, "RING_PACKETS", {64: 1000, 1500: 1000})


def test_every_path_of_a_round_trip_is_measured_in_every_round(in_a_hurry: None) -> None:
    trip = round_trips.measure(2, 20, quiet)
    for path in (trip.raw, trip.signal, trip.legacy, trip.rfc, trip.tasklet):
        assert len(path) == 2
        assert all(us > 0 for us in path)


def test_nothing_is_left_behind_by_the_processes_of_a_measurement() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with Pairs() as pairs:
        pair = pairs.start("wait", _plays_at_once, _waits_for_the_end)
        assert pair.play(3) == 3.0
        directory = Path(pairs._directory.name)
        assert directory.exists()
    assert not directory.exists()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_that_fails_says_why() -> None:
    with Pairs() as pairs, pytest.raises(PairFailed, match="no such luck"):
        pairs.start("bad", _fails, _waits_for_the_end)


def test_every_flag_reaches_its_driver_in_both_designs() -> None:
    result = dispatch.measure(1, 1280, quiet, (1, 64))
    assert {bits: (len(run.legacy), len(run.rfc)) for bits, run in result.items()} == {1: (1, 1), 64: (1, 1)}


def test_a_flag_reaches_its_driver_among_many_channels() -> None:
    result = dispatch.measure_mapped(1, 1280, quiet, (21, 100))
    assert {channels: len(rounds) for channels, rounds in result.items()} == {21: 1, 100: 1}


def test_the_paths_of_a_measurement_take_turns_in_going_first() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    assert fastest({name: partial(work, name) for name in "ab"}, 2) == {"a": 1.0, "b": 2.0}
    assert order == ["a", "b", "b", "a"]


def test_a_figure_is_judged_by_the_median_of_its_rounds() -> None:
    assert Figure("f", [1.0, 1.2, 9.0], gate=1.8, goal=1.3).verdict is Verdict.GOAL
    assert Figure("f", [1.0, 1.5, 9.0], gate=1.8, goal=1.3).verdict is Verdict.PASSED
    assert Figure("f", [1.0, 1.9, 2.0], gate=1.8, goal=1.3).verdict is Verdict.FAILED
    assert Figure("f", [5.0], gate=2.5, goal=4.5, larger=True).verdict is Verdict.GOAL
    assert Figure("f", [2.0], gate=2.5, goal=4.5, larger=True).verdict is Verdict.FAILED
    assert Figure("f", [2.0]).verdict is Verdict.NONE
    assert ratios([2.0, 3.0], [1.0, 2.0]) == [2.0, 1.5]


def test_the_command_prints_every_figure_and_fails_if_a_gate_does(
    in_a_hurry: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.bench(1, str(tmp_path / "figures.json"), lambda rounds, progress: [])
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    printed = capsys.readouterr()
    assert all(figure["name"] in printed.out for figure in figures)
    failed = [figure["name"] for figure in figures if figure["verdict"] == "failed"]
    assert code == (ExitCode.CHECK_FAILED if failed else ExitCode.SUCCESS)
    assert all(name in printed.err for name in failed)
    assert [figure["median"] for figure in figures if figure["name"].startswith(("torn", "lost"))] == [0, 0]


def test_the_document_carries_every_round_of_every_figure(in_a_hurry: None) -> None:
    figures = main.dispatch_figures(2, 128, quiet)
    document = main.document(2, figures)
    assert document["rounds"] == 2
    assert [entry["rounds"] for entry in document["figures"]] == [list(f.values) for f in figures]  # type: ignore[attr-defined]
    assert main.table(figures).row_count == len(figures)


def _plays_at_once(directory: str, life: int, orders: int, status: int) -> int:
    os.write(status, msgpack.packb(("wait", "ready")))
    while order := os.read(orders, 8):
        os.write(status, msgpack.packb(("wait", "played", float(int.from_bytes(order, "little")))))
    return 0


def _waits_for_the_end(directory: str, life: int, status: int) -> int:
    os.write(status, msgpack.packb(("wait peer", "ready")))
    os.read(life, 1)
    return 0


def _fails(directory: str, life: int, orders: int, status: int) -> int:
    raise RuntimeError("no such luck")
