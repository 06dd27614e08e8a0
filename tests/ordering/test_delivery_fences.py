"""A promise of the host never overtakes a signal that it sent before, though each VP has a socket of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TRIALS = 100_000
CONTROL_TRIALS = 4_000
CONTROL_RUNS = 10
ROOT = Path(__file__).parents[2]


def violations(trials: int, *how: str) -> int:
    """How often VP 0 saw the response before the flag was set, in a VM of processes of its own."""
    command = [sys.executable, "-m", "tests.ordering.vm_of_processes", str(trials), *how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, int] = json.loads(done.stdout)
    return result["violations"]


def test_without_delivery_fences_a_modifychannel_response_overtakes_the_signal() -> None:
    assert any(violations(CONTROL_TRIALS, "no-fences") for _ in range(CONTROL_RUNS))


def test_with_delivery_fences_it_never_does() -> None:
    assert violations(TRIALS) == 0
