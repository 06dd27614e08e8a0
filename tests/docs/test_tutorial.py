"""The tutorial, followed to the letter: its files are written, its commands run, and what it prints is compared."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import rundir
from lab.memories import Memories
from tests.integration.conftest import runtime as runtime
from tests.integration.machine import ROOT, nothing_left, wait_for

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
DONE = "-- done --"
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Reader:
    """A shell in an empty directory with nothing but ``launch.sh`` and the examples."""

    def __init__(self, directory: Path) -> None:
        launcher = directory / "launch.sh"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lab "$@"\n')
        launcher.chmod(0o755)
        (directory / "examples").symlink_to(ROOT / "examples")
        self.directory = directory
        self._shell = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def type(self, command: str) -> str:
        """Run a command; what it prints. A VM in the background is left alone until it has probed its devices."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        separator = "" if command.endswith("&") else ";"
        self._shell.stdin.write(f"{command}{separator} echo '{DONE}'\n")
        self._shell.stdin.flush()
        lines = list(iter(self._shell.stdout.readline, f"{DONE}\n"))
        if command.endswith("&"):
            wait_for("the driver has opened its channel", self._probed)
        return "".join(lines)

    def _probed(self) -> bool:
        running = rundir.running()
        return bool(running) and any(words.irq_name == "pong" for _, words in Memories(running[0]).guest().opened())

    def leave(self) -> None:
        self._shell.communicate()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()
    nothing_left()


def commands(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, and what it is said to print."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_every_command_of_the_tutorial_prints_what_it_says(reader: Reader) -> None:
    for block in BLOCK.finditer(TEXT):
        if block["kind"] == "python":
            (reader.directory / block["file"]).write_text(block["body"])
            continue
        assert block["kind"] == "console"
        for command, expected in commands(block["body"]):
            printed = reader.type(command)
            assert doctest.OutputChecker().check_output(expected, printed, LOOSE), f"$ {command}\n{printed}"
