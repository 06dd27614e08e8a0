"""Equal seeds give equal traces under every Python from 3.11 on, whatever the hash seed, on every machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/trace_hashes.json"
"""A list of [spec, hash]. A change of what the VM does changes them: ``python -m lab.simulation SPEC`` prints the new
hash."""
PACKAGES = ("greenlet", "msgpack", "pydantic")


def golden() -> list[tuple[str, str]]:
    return [(json.dumps(spec), expected) for spec, expected in json.loads(GOLDEN.read_text())]


def trace_hash(python: str | Path, spec: str, hash_seed: str = "random") -> str:
    command = [str(python), "-m", "lab.simulation", spec]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_this_python_gives_the_golden_trace(hash_seed: str) -> None:
    for spec, expected in golden():
        found = trace_hash(sys.executable, spec, hash_seed)
        assert found == expected, f"if the change is meant, put {found} into {GOLDEN.name} for {spec}"


def interpreter(version: str) -> str | None:
    """A Python of this version on this machine."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    for candidate in (*map(str, installed), shutil.which(f"python{version}")):
        if candidate is None:
            continue
        asked = subprocess.run([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                               capture_output=True, text=True, check=False)  # fmt: skip
        if asked.stdout.strip() == version:
            return candidate
    return None


def environment_of(version: str, found: str) -> Path:
    """A Python of this version with what a simulation needs, kept for the next time. Skips, or fails under CI."""
    home = Path(tempfile.gettempdir()) / f"vmbus-lab-pythons-{os.getuid()}" / version
    python = home / "bin/python"
    ready = home / "-".join(("ready", *PACKAGES))
    if not ready.exists():
        for command in (
            [found, "-m", "venv", "--clear", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                give_up = pytest.fail if os.environ.get("CI") else pytest.skip
                give_up(f"Python {version} is here, but {' '.join(command)} failed: {done.stderr[-500:]}")
        ready.touch()
    return python


PYTHONS = [(version, found) for version in ("3.11", "3.12", "3.13") if (found := interpreter(version))]
"""Those of this machine; for the others the golden trace stands."""


@pytest.mark.parametrize(("version", "found"), PYTHONS)
def test_every_python_gives_the_trace_of_this_one_and_needs_no_sockets_or_loops(version: str, found: str) -> None:
    """The environments have what PACKAGES says and nothing else."""
    python = environment_of(version, found)
    for spec, _ in golden():
        assert trace_hash(python, spec) == trace_hash(sys.executable, spec)
