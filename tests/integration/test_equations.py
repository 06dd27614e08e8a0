"""The numbers of host and guest agree; and each equation between them can fail, or it would be worth nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from guest.vmbus.policy import Policy
from lab.failure import VmFailure
from lab.faults.cases import CASES, Case
from lab.faults.trial import DEVICES
from lab.report import Check, Report
from lab.spec import DiskSpec, VmSpec
from lab.vm import VM
from lab.workload import read_disk
from protocol.errors import ExitCode
from tests.integration.machine import DEADLINE, make_image, nothing_left

ELSEWHERE = {"suppress_signals", "lose_flag", "flip_byte", "dead_cpu", "forgotten_open", "misdirect", "lost_handler"}
"""Faults after which the VM is no use for the next one; ``./launch.sh faults`` tries every fault on a VM of its own."""

LOST = [case for case in CASES if case.fault in ("suppress_signals", "lose_flag")]


def imbalance(report: Report) -> dict[tuple[str, str], Any]:
    """By how much each check is out; whether it is, if it is not about numbers."""

    def out(left: Any, right: Any) -> Any:
        return left - right if isinstance(left, int) else left != right

    return {(check.invariant, check.name): out(check.left_value, check.right_value) for check in report.checks}


@asynccontextmanager
async def busy_vm(name: str, policy: str, tmp_path: Path) -> AsyncIterator[VM]:
    """A VM whose heartbeat beats fast, and whose guest has read its disk."""
    make_image(tmp_path / "disk.img", 1 << 20)
    spec = VmSpec(name, vcpus=2, policy=policy, disks=[DiskSpec(str(tmp_path / "disk.img"))], time_scale=20)
    spec.devices += DEVICES
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


@pytest.mark.parametrize("policy", list(Policy))
async def test_faults_in_processes_break_what_they_break_in_the_simulation(policy: Policy, tmp_path: Path) -> None:
    cases = [case for case in CASES if policy in case.under and case.fault not in ELSEWHERE]
    cases = [case for case in cases if case.arguments.get("cpu") in (None, 1)]
    async with busy_vm(f"faults-{policy.value}", policy.value, tmp_path) as vm:
        report = await vm.report()
        assert not report.failed
        for case in cases:
            before = imbalance(report)
            await vm.inject(case.where, case.fault, **case.arguments)
            await heartbeats(vm, 1)
            report = await vm.report()
            out = imbalance(report)
            assert {key[0] for key in out if out[key] != before.get(key, 0)} == case.red, case


@pytest.mark.parametrize("case", LOST, ids=[case.fault for case in LOST])
async def test_a_lost_interrupt_is_missed_by_every_invariant_that_it_should_have_met(
    case: Case, tmp_path: Path
) -> None:
    async with busy_vm(case.fault.replace("_", "-"), "rfc", tmp_path) as vm:
        await vm.inject(case.where, case.fault, **case.arguments)
        await heartbeats(vm, 1)
        assert (await vm.report()).red == case.red


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
