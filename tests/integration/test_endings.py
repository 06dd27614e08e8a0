"""However a VM ends, the command says why in one line and nothing of the VM is left."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from lab.rundir import VmInfo
from protocol.errors import ExitCode
from tests.integration.conftest import Lab
from tests.integration.machine import Command, nothing_left, reading, started, wait_for

ROUNDS = 6
AT_ONCE = 2
"""VMs that run at the same time, one per processor of a small machine."""

Deed = Callable[[Command, VmInfo], None]

ENDINGS: dict[str, tuple[Deed, ExitCode, str]] = {
    "kill -9 of a worker": (
        lambda command, vm: os.kill(vm.pids["cpu1"], signal.SIGKILL),
        ExitCode.PROCESS_DIED,
        r"cpu1 \(pid \d+\) was killed by SIGKILL; the VM cannot go on without it",
    ),
    "kill -9 of the host": (
        lambda command, vm: os.kill(vm.pids["host"], signal.SIGKILL),
        ExitCode.PROCESS_DIED,
        r"host \(pid \d+\) was killed by SIGKILL; the VM cannot go on without it",
    ),
    "kill -9 of the supervisor": (
        lambda command, vm: os.kill(vm.supervisor, signal.SIGKILL),
        ExitCode.SUPERVISOR_DIED,
        r"the supervisor \(pid \d+\) ended without a word",
    ),
    "Ctrl-C": (lambda command, vm: command.send(signal.SIGINT), ExitCode.INTERRUPTED, "interrupted"),
    "SIGTERM": (lambda command, vm: command.send(signal.SIGTERM), ExitCode.TERMINATED, "terminated"),
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 64 << 20)  # long enough to be caught reading it
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_times_each(ending: str, lab: Lab, image: Path) -> None:
    """Every other time while the guest boots; else in the middle of a read."""
    deed, code, line = ENDINGS[ending]

    def once(number: int) -> str:
        name = f"end{number}"
        command = lab("run", "--vm", "small", "--vcpus", "2", "--disk", image, "--name", name)
        vm = started(name)
        if number % 2:
            reading(vm)
        deed(command, vm)
        return command.finished().complained(code)

    with ThreadPoolExecutor(AT_ONCE) as rounds:
        said = list(rounds.map(once, range(ROUNDS)))
    assert len(said) == ROUNDS
    assert all(re.fullmatch(line, each) for each in said), said
    nothing_left()


def test_a_command_that_is_killed_takes_its_vm_with_it(lab: Lab) -> None:
    for number in range(3):
        command = lab("run", "--vm", "small", "--vcpus", "2", "--name", f"orphan{number}")
        vm = started(f"orphan{number}")
        assert os.getsid(vm.supervisor) == vm.supervisor
        command.send(signal.SIGKILL)
        command.finished()
        nothing_left()


def test_the_vm_ends_even_if_command_and_supervisor_are_killed_together(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "both")
    vm = started("both")
    os.kill(vm.supervisor, signal.SIGSTOP)
    command.send(signal.SIGKILL)
    command.finished()
    os.kill(vm.supervisor, signal.SIGKILL)
    nothing_left()


def test_a_signal_before_anything_has_started_is_obeyed(lab: Lab) -> None:
    for number in range(3):
        command = lab("run", "--vm", "small", "--vcpus", "2", "--name", f"early{number}")
        wait_for("the supervisor", partial(children, command.pid))
        command.send(signal.SIGINT)
        assert command.finished().complained(ExitCode.INTERRUPTED) == "interrupted"
        nothing_left()


def test_a_second_ctrl_c_does_not_spoil_the_first(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "twice")
    started("twice")
    command.send(signal.SIGINT)
    command.send(signal.SIGINT)
    assert command.finished().complained(ExitCode.INTERRUPTED) == "interrupted"
    nothing_left()


def test_a_supervisor_that_is_asked_to_end_ends_its_vm(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "asked")
    supervisor = started("asked").supervisor
    os.kill(supervisor, signal.SIGTERM)
    line = command.finished().complained(ExitCode.TERMINATED)
    assert line == f"the supervisor (pid {supervisor}) got SIGTERM"
    nothing_left()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
