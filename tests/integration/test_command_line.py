"""The commands, as somebody at a terminal has them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lab.cli import COMMANDS, cli
from protocol.errors import ExitCode
from tests.integration.conftest import Lab
from tests.integration.machine import make_image, nothing_left, started

VM = ("--vm", "small", "--vcpus", "2", "--duration", "0.1")


SHORT_HELP = 68
"""What a terminal of 80 columns leaves for a command in the list of them."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_and_its_options(command: str) -> None:
    itself = cli.get_command(click.Context(cli), command)
    assert itself is not None
    text = itself.get_help(click.Context(itself, info_name=command))
    assert itself.help
    assert not itself.get_short_help_str(limit=SHORT_HELP).endswith("...")
    for parameter in itself.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[-1] in text
        else:
            assert parameter.make_metavar(click.Context(itself)) in text


def test_help_names_the_commands_and_the_exit_codes(lab: Lab) -> None:
    done = lab("--help").finished()
    assert (done.code, done.err) == (0, "")
    assert all(f"  {command} " in done.out for command in COMMANDS)
    said = re.sub(r"\s+", " ", done.out)
    assert all(re.search(rf"\b{int(code)} ", said) for code in ExitCode)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("frobnicate",), "No such command 'frobnicate'."),
        (("run", "--vcpus", "0"), "Invalid value for '--vcpus': 0 is not in the range 1<=x<=64."),
        (("run", "--duration", "inf"), "Invalid value for '--duration': 'inf' is no number."),
        (("sim", "--duration", "nan"), "Invalid value for '--duration': 'nan' is no number."),
        (("run", "--time-scale", "nan"), "Invalid value for '--time-scale': 'nan' is no number."),
        (
            ("run", "--seed", "4294967296"),
            "Invalid value for '--seed': 4294967296 is not in the range 0<=x<=4294967295.",
        ),
        (("soak", "--cut", "0s"), "Invalid value for '--cut': '0s' is too short: say a second or more"),
        (
            ("soak", "--duration", "soon"),
            "Invalid value for '--duration': 'soon' is no duration: write 90s, 10m or 1.5h",
        ),
        (("run", "--policy", "none"), "Invalid value for '--policy': 'none' is not one of 'legacy', 'rfc'."),
        (("run", "--name", "a/b"), "'a/b' is no name for a VM: use up to 32 letters, digits, '.', '_' and '-'"),
        (
            ("run", "--trace", "/no/t"),
            "Invalid value for '--trace': /no/t cannot be written: it is a directory, or in none",
        ),
        (
            ("run", "--json", "/no/j"),
            "Invalid value for '--json': /no/j cannot be written: it is a directory, or in none",
        ),
        (("run", "--disk", "/dev/null"), "there is no disk image at /dev/null: give --disk a raw image file"),
        (("cat", "/proc/stat"), "no VM is running: start one with './launch.sh run --duration 0' in another terminal"),
        (("cat", "/proc/stat", "--name", "x"), "no VM named 'x' is running: './launch.sh ps' lists them"),
        (("trace", "/etc/passwd"), "this is not a journal: give a file that --trace wrote"),
        (("trace", "/no/t"), "Invalid value for 'FILE': File '/no/t' does not exist."),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments: tuple[str, ...], line: str, lab: Lab) -> None:
    assert lab(*arguments).finished().complained(ExitCode.OPERATOR) == line
    nothing_left()


def test_whoever_reads_the_output_may_stop_reading_and_a_full_disk_is_said_in_a_line() -> None:
    keys = f"{sys.executable} -m lab vm --keys"
    with open("/dev/full", "w") as full:
        failed = subprocess.run(keys.split(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (2, "vmbus-lab: cannot write the output: No space left on device\n")
    # A command that says much, and a reader that has gone before it begins.
    read, write = os.pipe()
    os.close(read)
    left = subprocess.run(keys.split(), stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (left.returncode, left.stderr) == (0, "")


def test_a_runtime_directory_that_will_not_do_is_a_mistake(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no")
    assert "cannot make a run directory in /no" in lab("run").finished().complained(ExitCode.OPERATOR)
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert "is too long for a socket" in lab("run").finished().complained(ExitCode.OPERATOR)
    assert not list(long.iterdir())


def test_a_run_until_ctrl_c_gives_the_table_and_succeeds(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--duration", "0", "--name", "endless")
    started("endless")
    command.send(signal.SIGINT)
    done = command.finished()
    assert (done.code, done.err) == (0, "")
    assert "VMBus  14  pri@storvsc0" in done.out
    assert "verified  SHA-256 of the disk" in done.out, "Ctrl-C does not cut a verification short"
    nothing_left()


def test_several_vms_are_told_apart_by_name(lab: Lab) -> None:
    commands = {
        name: lab("run", "--vm", "small", "--vcpus", vcpus, "--duration", "0", "--policy", policy, "--name", name)
        for name, vcpus, policy in (("one", "1", "rfc"), ("two", "2", "legacy"))
    }
    vms = [started(name) for name in commands]

    listed = lab("ps").finished().out.splitlines()
    assert [line.split()[:5] for line in listed] == [
        ["one", "1", "vCPUs", "policy", "rfc"],
        ["two", "2", "vCPUs", "policy", "legacy"],
    ]
    assert all(
        f"supervisor {vm.supervisor}  host {vm.pids['host']}" in line for vm, line in zip(vms, listed, strict=True)
    )

    line = lab("cat", "/proc/interrupts").finished().complained(ExitCode.OPERATOR)
    assert line == "2 VMs are running: choose one of one, two with --name"
    assert "CPU1" not in lab("cat", "/proc/interrupts", "--name", "one").finished().out
    assert "CPU1" in lab("cat", "/proc/interrupts", "--name", "two").finished().out
    line = lab("cat", "/proc/meminfo", "--name", "two").finished().complained(ExitCode.OPERATOR)
    assert line == "/proc/meminfo is not in this VM: './launch.sh ls' shows what is"

    line = lab("run", "--name", "one").finished().complained(ExitCode.OPERATOR)
    assert line == "a VM named 'one' is running: choose another with --name"

    for command in commands.values():
        assert command.running, "nothing of this has disturbed them"
        command.send(signal.SIGINT)
        assert command.finished().code == 0
    nothing_left()


def test_what_a_killed_vm_left_is_swept_and_its_name_is_free(lab: Lab, runtime: Path) -> None:
    stale = runtime / f"vmbus-lab-{os.getuid()}" / "swept"
    stale.mkdir(parents=True)
    (stale / "pid").write_text("4194304")  # no process has it: it is the first above the largest
    assert lab("ps").finished().out == ""
    assert not stale.exists()
    stale.mkdir(parents=True)
    (stale / "pid").write_text("4194304")
    assert lab("run", *VM, "--name", "swept").finished().code == 0
    nothing_left()


def test_the_report_as_json_says_what_the_table_says(lab: Lab, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 1 << 20)
    path = tmp_path / "report.json"
    done = lab("run", *VM, "--disk", tmp_path / "disk.img", "--json", path).finished()
    assert (done.code, done.err) == (0, "")
    report = json.loads(path.read_text())
    assert (report["policy"], report["version"], report["complaints"]) == ("rfc", "5.3", [])
    assert report["sha256"] in done.out
    assert all(check["holds"] and check["left_value"] == check["right_value"] for check in report["checks"])
    rows = {row["name"]: row for row in report["channels"]}
    assert {name: row["relid"] for name, row in rows.items()} == {
        "heartbeat": 7,
        "shutdown": 9,
        "timesync": 10,
        "pri@storvsc0": 14,
    }
    for row in rows.values():
        printed = re.search(rf"^ *{row['irq']}: +(\d+) +(\d+) +VMBus +{row['relid']}  {row['name']}$", done.out, re.M)
        assert printed
        assert sum(map(int, printed.groups())) == row["counted"] == row["sent"] - row["merged"]
    assert report["totals"]["control messages"] > 0


def test_a_simulated_run_happens_again_from_its_journal_and_says_when_it_no_longer_fits(
    lab: Lab, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    first = lab("sim", *VM, "--seed", "9", "--trace", journal).finished()
    again = lab("sim", *VM, "--seed", "9", "--replay", journal).finished()
    assert (first.code, again.code) == (0, 0)
    assert again.out.splitlines()[-1] == first.out.splitlines()[-1]
    other = lab("sim", "--vcpus", "3", "--duration", "0.1", "--replay", journal).finished()
    assert other.complained(ExitCode.OPERATOR).startswith("decision ")
