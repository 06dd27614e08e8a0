"""/proc/interrupts of a running guest, before and after the RFC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.report import Report
from lab.spec import DiskSpec, GuestVersion, VmSpec
from lab.vm import VM
from lab.workload import read_disk
from tests.integration.machine import make_image, nothing_left

CHANNELS = {7: "heartbeat", 9: "shutdown", 10: "timesync", 14: "pri@storvsc0"}
"""relid: name, as in the RFC's cover letter."""


@asynccontextmanager
async def vm_that_has_read(policy: str, tmp_path: Path, **options: object) -> AsyncIterator[VM]:
    make_image(tmp_path / "disk.img", 1 << 20)
    spec = VmSpec(f"rows-{policy}", vcpus=4, policy=policy, disks=[DiskSpec(str(tmp_path / "disk.img"))], time_scale=10)
    async with VM(spec) as vm:
        await vm.settled()
        await read_disk(vm, lambda what, done, of: None)
        yield vm
    nothing_left()


def rows(text: str) -> dict[str, list[str]]:
    """/proc/interrupts by label."""
    lines = text.splitlines()
    assert lines[0].split() == ["CPU0", "CPU1", "CPU2", "CPU3"]
    return {label.strip(): rest.split() for label, rest in (line.split(":", 1) for line in lines[1:])}


def counts(row: list[str]) -> list[int]:
    return [int(count) for count in row[:4]]


async def stat_and_interrupts(vm: VM) -> tuple[str, str]:
    """/proc/stat and /proc/interrupts with no interrupt between the two."""
    while True:
        stat = vm.files.read("/proc/stat")
        interrupts = vm.files.read("/proc/interrupts")
        if vm.files.read("/proc/stat") == stat:
            return stat.decode(), interrupts.decode()
        await vm.pass_time(0)


async def balanced(vm: VM) -> Report:
    report = await vm.report()
    assert not report.failed
    return report


async def test_with_the_rfc_each_channel_has_a_row_with_its_relid_and_its_name(tmp_path: Path) -> None:
    async with vm_that_has_read("rfc", tmp_path) as vm:
        report = await balanced(vm)
        table = rows(report.interrupts)
        channels = {int(row[5]): (row[4], row[6]) for label, row in table.items() if label.isdigit()}
        assert channels == {relid: ("VMBus", name) for relid, name in CHANNELS.items()}
        for row in report.channels:
            assert counts(table[str(row.irq)])[row.target_cpu] == row.counted == row.sent - row.merged
            assert row.counted > 0
        assert sum(counts(table["HYP"])) == report.totals["control messages"]


async def test_before_the_rfc_one_row_has_everything(tmp_path: Path) -> None:
    async with vm_that_has_read("legacy", tmp_path) as vm:
        report = await balanced(vm)
        table = rows(report.interrupts)
        assert not [label for label in table if label.isdigit()]
        assert "VMBus" not in report.interrupts
        assert sum(counts(table["HYP"])) == report.totals["top-level interrupts"]
        assert report.totals["top-level interrupts"] > report.totals["control messages"]
        assert {row.relid: row.name for row in report.channels}.keys() == CHANNELS.keys()


async def test_the_device_that_linux_does_not_know_has_no_row(tmp_path: Path) -> None:
    async with vm_that_has_read("rfc", tmp_path) as vm:
        host = await vm.host("snapshot")
        assert host["channels"]["avma"]["relid"] == 12
        assert 12 not in dict(vm.guest.channels())


async def test_stat_counts_each_interrupt_once(tmp_path: Path) -> None:
    async with vm_that_has_read("rfc", tmp_path) as vm:
        stat, text = await stat_and_interrupts(vm)
        total, *each = map(int, stat.split()[1:])
        table = rows(text)
        assert [each[int(label)] for label in table if label.isdigit()] == [
            sum(counts(row)) for label, row in table.items() if label.isdigit()
        ]
        in_rows = sum(sum(counts(row)) for label, row in table.items() if label not in ("ERR", "MIS"))
        assert total == in_rows


@pytest.mark.parametrize("version", ["2.4", "4.0", "5.0"])
async def test_the_equations_hold_for_older_protocols_too(version: GuestVersion, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 1 << 20)
    spec = VmSpec("older", vcpus=2, disks=[DiskSpec(str(tmp_path / "disk.img"))], max_version=version)
    async with VM(spec) as vm:
        await vm.settled()
        await read_disk(vm, lambda what, done, of: None)
        assert (await balanced(vm)).version == version
    nothing_left()
