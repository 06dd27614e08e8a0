"""Drivers and devices from outside the tree in real processes, by the command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lab.memories import Memories
from tests.integration.conftest import Lab
from tests.integration.machine import nothing_left, started, wait_for
from tests.outside.authors import ECHO, ECHO_DEVICE, EXAMPLES, at, changed

DEVICE_FAILED = 7


def echo(driver: str = ECHO, device: str = ECHO_DEVICE) -> list[str]:
    return ["--vcpus", "2", "--duration", "1", "--driver", driver, "--device", device]


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
def test_the_same_file_runs_under_either_policy(policy: str, lab: Lab, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = lab("run", "--vm", "small", "--name", "echo", "--policy", policy, "--json", report, *echo()).finished()
    assert done.code == 0, done
    plain: dict[str, Any] = json.loads(report.read_text())
    assert not plain["mistakes"] and not plain["warnings"] and not plain["complaints"]
    (row,) = (row for row in plain["channels"] if row["name"] == "echo")
    assert row["counted"] + row["merged"] == row["sent"] > 10
    assert (" echo\n" in done.out.split("relid")[0]) == (policy == "rfc")
    nothing_left()


@pytest.mark.parametrize("command", ["run", "sim"])
def test_a_mistake_in_the_file_ends_it_before_anything_has_started(command: str, lab: Lab, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "async def remove", "async deff remove")
    line = lab(command, "--name", "echo", *echo(driver)).finished().complained(2)
    assert line == f"{at(driver, 'async deff')}: invalid syntax"
    nothing_left()


def test_a_driver_that_fails_is_named_and_the_rest_of_the_run_is_sound(lab: Lab, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "words.echoed += 1", "words.echoed += 1 if words.echoed < 3 else 1 // 0")
    trace = tmp_path / "journal"
    done = lab("run", "--vm", "small", "--name", "echo", "--trace", trace, *echo(driver)).finished()
    assert done.code == DEVICE_FAILED, done
    assert f"mistake   driver {at(driver, 'words.echoed +=')} ZeroDivisionError: integer division" in done.out
    assert "verified  SHA-256 of the disk" in done.out and "FAILED" not in done.out
    log = lab("trace", trace, "--event", "printk").finished().out
    assert f"BUG: CPU 0: {at(driver, 'words.echoed +=')} ZeroDivisionError" in log
    assert "is stopped: its driver echo is dead" in log
    nothing_left()


@pytest.mark.parametrize("loop", ["while True: pass", "import time; time.sleep(60)"], ids=["loop", "sleep"])
def test_a_driver_that_keeps_its_cpu_is_named_and_stopped(loop: str, lab: Lab, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "        channel.receive(echo)", f"        {loop}")
    done = lab("run", "--vm", "small", "--name", "echo", *echo(driver)).finished()
    assert done.code == DEVICE_FAILED, done
    assert f"mistake   driver {at(driver, loop)} SoftLockup: CPU 0 was stuck for 1 s" in done.out
    nothing_left()


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("words.echoed += 1", "raise SystemExit(3)", 7, "mistake   driver {at} SystemExit: 3 (in onchannel_callback"),
        (
            "await channel.open(",
            "await __import__('asyncio').sleep(1); (",
            7,
            "mistake   driver {at} RuntimeError: nobody",
        ),
        (
            "RING_BYTES, RING_BYTES)",
            "RING_BYTES, RING_BYTES); raise OSError(5, 'no')",
            0,
            "warning   driver {at} OSError: ",
        ),
    ],
    ids=["exit", "foreign wait", "probe failed after the open"],
)
def test_what_a_driver_does_wrong_costs_it_alone(
    old: str, new: str, code: int, said: str, lab: Lab, tmp_path: Path
) -> None:
    driver = changed(tmp_path, ECHO, old, new)
    done = lab("run", "--vm", "small", "--name", "echo", *echo(driver)).finished()
    assert done.code == code, done
    assert said.format(at=at(driver, new)) in done.out
    assert "verified  SHA-256 of the disk" in done.out and "FAILED" not in done.out
    nothing_left()


def test_a_probe_that_never_ends_is_named(lab: Lab, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "await channel.open(", "await self.core.sleep(1e6); (")
    line = lab("run", "--vm", "small", "--name", "echo", *echo(driver)).finished().complained(6)
    assert line == "waiting for the driver echo to be done with the device of relid 1 for 10 s"
    nothing_left()


def test_a_device_that_fails_is_named_and_taken_away(lab: Lab, tmp_path: Path) -> None:
    device = changed(tmp_path, ECHO_DEVICE, "self.sent += 1", "self.sent += [][self.sent // 5]")
    done = lab("run", "--vm", "small", "--name", "echo", *echo(device=device)).finished()
    assert done.code == DEVICE_FAILED, done
    assert f"mistake   device {at(device, 'self.sent +=')} IndexError: list index out of range" in done.out
    assert " echo" not in done.out.split("relid")[0]
    nothing_left()


def test_a_device_that_cannot_even_be_made_is_a_mistake_in_the_arguments(lab: Lab, tmp_path: Path) -> None:
    device = changed(tmp_path, ECHO_DEVICE, "self._timer: Timer | None = None", "self._timer = self.timer")
    line = lab("run", "--vm", "small", "--name", "echo", *echo(device=device)).finished().complained(2)
    assert line.endswith(f"{at(device, 'self.timer')} AttributeError: 'EchoDevice' object has no attribute 'timer'")
    nothing_left()


def test_a_driver_that_cannot_be_made_is_a_mistake_in_the_arguments(lab: Lab, tmp_path: Path) -> None:
    init = "    def __init__(self, core, bus):\n        super().__init__(core, bus, 1)\n\n    async def probe"
    driver = changed(tmp_path, ECHO, "    async def probe", init)
    for command in ("run", "sim"):
        line = lab(command, "--name", "echo", *echo(driver)).finished().complained(2)
        assert f"{at(driver, 'super().__init__')} TypeError: HvDriver.__init__() takes 3 positional arguments" in line
    nothing_left()


def test_another_device_of_the_kind_is_added_while_the_vm_runs(lab: Lab) -> None:
    arguments = ("run", "--name", "echo", "--vcpus", "2", "--duration", "0")
    command = lab(*arguments, "--driver", ECHO, "--device", ECHO_DEVICE)
    vm = started("echo")
    said = lab("add", "second", "--kind", "echo", "--name", "echo").finished()
    assert said.code == 0 and said.out.startswith("second: offered as relid"), said
    guest = Memories(vm).guest()
    wait_for("both are open", lambda: sum(words.irq_name == "echo" for _, words in guest.opened()) == 2)
    command.send(signal.SIGINT)
    assert command.finished().code == 0
    nothing_left()


def test_the_stub_has_the_controller_instead_of_the_driver_of_the_tree(lab: Lab) -> None:
    stub = str(EXAMPLES / "storvsc_stub.py")
    done = lab(
        "run", "--vm", "small", "--name", "stub", "--vcpus", "2", "--duration", "0.1", "--driver", stub
    ).finished()
    assert done.code == 0, done
    assert "  storvsc_stub\n" in done.out and "SHA-256" not in done.out
    nothing_left()
