"""A run directory is removed whole, although each of those who remove it may die in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import rundir


@pytest.fixture
def dead() -> int:
    """The pid of a process that was."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_supervisor_finishes_what_its_host_began(runtime: Path) -> None:
    directory = rundir.create("cut")
    (directory / "host").touch()
    half = directory.rename(rundir.base() / f".old-{os.getpid()}")
    (half / "pid").unlink()
    rundir.remove("cut", os.getpid())
    assert not rundir.base().exists()


@pytest.mark.parametrize("half", [".old-{}", ".new-{}-abc"])
def test_what_the_dead_left_half_done_goes_when_somebody_looks(runtime: Path, dead: int, half: str) -> None:
    left = rundir.base() / half.format(dead)
    left.mkdir(parents=True)
    (left / "host").touch()
    assert rundir.running() == []
    assert not rundir.base().exists()
