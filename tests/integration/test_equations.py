"""The numbers of host and guest agree; and each equation between them can fail, or it would be worth nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.failure import VmFailure
from lab.report import Check, Report
from lab.spec import DiskSpec, VmSpec
from lab.vm import VM
from lab.workload import read_disk
from protocol.errors import ExitCode
from tests.integration.machine import DEADLINE, make_image, nothing_left

HEARTBEAT, SHUTDOWN, STORVSC = 7, 9, 14
NOBODYS = 200
"""An event flag that no channel has."""

Faults = list[tuple[str, str, dict[str, Any], set[str]]]

COMMON: Faults = [
    ("host", "invent_flag", {"relid": NOBODYS}, {"signals to VP 0"}),
    ("host", "invent_ipi", {"vp": 0}, {"interrupts to VP 0"}),
    ("host", "stray_signal", {"flag": NOBODYS}, {"signals raised"}),
    ("host", "forget_message", {}, {"messages to VP 0"}),
    ("host", "forget_answer", {}, {"heartbeat answers"}),
    ("cpu0", "stray_flag", {"flag": NOBODYS}, {"flags cleared on CPU 0"}),
    ("cpu0", "stray_message", {}, {"messages on CPU 0"}),
    ("cpu0", "stray_ipi", {}, {"RES + CAL on CPU 0"}),
    ("cpu0", "stray_doorbell", {"relid": STORVSC}, {"doorbells of relid 14 (pri@storvsc0)"}),
    ("cpu0", "unsorted_flag", {}, {"flags of VP 0"}),
    ("cpu0", "missorted_flag", {}, {"flags found by CPU 0"}),
    ("cpu0", "wrong_hyp", {}, {"HYP on CPU 0"}),
    ("cpu0", "untold_target", {"relid": SHUTDOWN, "cpu": 1}, {"target of relid 9 (shutdown)"}),
]
"""Where, which fault, its arguments, and exactly the equations that it breaks."""

LOST: Faults = [
    (
        *("host", "lose_flag", {"relid": HEARTBEAT}),
        {"signals to VP 0", "signals of relid 7 (heartbeat)", "heartbeat requests"},
    ),
    ("host", "suppress_signals", {"relid": HEARTBEAT}, {"signals towards VP 0", "heartbeat requests"}),
]
"""The channel never recovers from these: nobody looks at it again."""

OF_POLICY: dict[str, Faults] = {
    "rfc": [
        ("cpu0", "uncounted_callback", {"relid": STORVSC}, {"callbacks of relid 14 (pri@storvsc0)"}),
        (
            *("cpu0", "stray_handler", {"relid": SHUTDOWN}),
            {"handlers of CPU 0", "callbacks of relid 9 (shutdown)"},
        ),
        (
            *("cpu0", "uncounted_interrupt", {"relid": HEARTBEAT}),
            {"signals of relid 7 (heartbeat)", "callbacks of relid 7 (heartbeat)"},
        ),
        ("cpu0", "stray_callback", {}, {"vectors on CPU 0"}),
    ],
    "legacy": [
        ("cpu0", "uncounted_callback", {"relid": STORVSC}, {"signals of relid 14 (pri@storvsc0)"}),
        (
            *("cpu0", "stray_handler", {"relid": SHUTDOWN}),
            {"flags found by CPU 0", "signals of relid 9 (shutdown)"},
        ),
        ("cpu0", "stray_callback", {}, {"vectors on CPU 0", "HYP on CPU 0"}),
    ],
}


def kind(check: str) -> str:
    """The kind of an equation: its name without what it is about."""
    return re.sub(r"(VP|CPU|relid) \d+( \(.*\))?|^(heartbeat|shutdown|timesync)", "", check)


def imbalance(report: Report) -> dict[str, int]:
    """By how much each equation is out."""
    return {check.name: check.left_value - check.right_value for check in report.checks}


@asynccontextmanager
async def busy_vm(name: str, policy: str, tmp_path: Path) -> AsyncIterator[VM]:
    """A VM whose heartbeat beats fast, and whose guest has read its disk."""
    make_image(tmp_path / "disk.img", 1 << 20)
    spec = VmSpec(name, vcpus=2, policy=policy, disks=[DiskSpec(str(tmp_path / "disk.img"))], time_scale=20)
    async with VM(spec) as vm:
        await vm.settled()
        await read_disk(vm, lambda what, done, of: None)
        await heartbeats(vm, 2)
        yield vm
    nothing_left()


async def heartbeats(vm: VM, count: int) -> None:
    """Wait until the host has sent ``count`` more: until then whatever the host does next has been done."""

    async def sent() -> int:
        number: int = (await vm.host("snapshot"))["devices"]["heartbeat"]["counts"]["sent"]
        return number

    async with asyncio.timeout(DEADLINE):
        before = await sent()
        while await sent() < before + count:
            await vm.pass_time(0.01)


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_each_equation_is_broken_by_a_fault_that_breaks_nothing_else(policy: str, tmp_path: Path) -> None:
    faults = OF_POLICY[policy] + COMMON
    seen: dict[str, set[str]] = {}
    async with busy_vm(f"faults-{policy}", policy, tmp_path) as vm:
        report = await vm.report()
        assert not report.failed
        kinds = {kind(check.name) for check in report.checks}
        for where, fault, arguments, _ in faults:
            before = imbalance(report)
            await vm.inject(where, fault, **arguments)
            await heartbeats(vm, 1)
            report = await vm.report()
            out = imbalance(report)
            seen[fault] = {name for name in out if out[name] != before[name]}
    assert seen == {fault: broken for _, fault, _, broken in faults}
    assert {kind(name) for *_, broken in faults + LOST for name in broken} == kinds


@pytest.mark.parametrize(("where", "fault", "arguments", "broken"), LOST, ids=[fault for _, fault, *_ in LOST])
async def test_a_lost_interrupt_is_missed_by_every_equation_that_it_should_have_met(
    where: str, fault: str, arguments: dict[str, Any], broken: set[str], tmp_path: Path
) -> None:
    async with busy_vm(fault.replace("_", "-"), "rfc", tmp_path) as vm:
        await vm.inject(where, fault, **arguments)
        await heartbeats(vm, 1)
        assert {check.name for check in (await vm.report()).failed} == broken


async def test_a_report_ends_also_while_the_guest_never_rests(tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 64 << 20)
    async with VM(VmSpec("restless", vcpus=2, disks=[DiskSpec(str(tmp_path / "disk.img"))])) as vm:
        await vm.settled()
        await vm.start_program("checksum", disk_name="sda")
        try:
            report = await asyncio.wait_for(vm.report(), DEADLINE)
        except VmFailure as failure:
            assert (failure.code, "no consistent cut" in str(failure)) == (ExitCode.CHECK_FAILED, True)
        else:
            assert not report.failed


def test_an_equation_says_who_counted_what() -> None:
    assert str(Check("signals to VP 0", "host sent", 2, "port received", 2)) == (
        "signals to VP 0: host sent 2 = port received 2"
    )
    assert str(Check("signals to VP 0", "host sent", 2, "port received", 1)) == (
        "signals to VP 0: host sent 2 is not port received 1"
    )
