"""Every test has a runtime directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.machine import Command

Lab = Callable[..., Command]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, because the path of a Unix socket is; with a directory for temporary files in it."""
    path = Path(tempfile.mkdtemp(prefix="vl", dir="/tmp"))
    (path / "tmp").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    monkeypatch.setenv("TMPDIR", str(path / "tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """``lab("run", "--vm", "small", "--vcpus", "2")`` starts a command."""
    with ExitStack() as commands:
        yield lambda *arguments: commands.enter_context(Command(tmp_path, *arguments))
