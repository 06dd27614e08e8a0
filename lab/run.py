"""``run`` and ``sim``: start a VM, give it work, judge it. The story is the same for processes and simulation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lab.api import Vm
from lab.console import Console
from lab.output import save_json
from lab.report import Report
from lab.workload import DiskWork, exchange_frames, has_disk
from protocol.errors import ExitCode

DEFAULT_IMAGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is asked for besides the VM itself. ``duration`` 0: until Ctrl-C."""

    duration: float = 10.0
    frames: int = 200
    """From each CPU on each NIC."""
    json_path: str | None = None


async def run(vm: Vm, options: RunOptions, console: Console, stop: asyncio.Event) -> ExitCode:
    """The workload, the rest of the duration, the report. ``stop`` is Ctrl-C."""
    began = vm.now()
    console.stage(f"{vm.spec.vcpus} vCPUs, policy {vm.spec.policy}: probing devices")
    await vm.settled()
    disk = await DiskWork.begin(vm) if has_disk(vm) or (vm.spec.disks and not vm.spec.drivers) else None
    if disk is not None:
        await disk.do(console.progress)
    frames = await exchange_frames(vm, options.frames, console.progress)
    await _rest(vm, began, options.duration, console, stop)
    report = await vm.report()
    if disk is not None:
        report.facts["sha256"] = disk.digest
        report.checks[:0] = await disk.checks()
    report.checks += frames
    return verdict(report, console, options.json_path)


def verdict(report: Report, console: Console, json_path: str | None) -> ExitCode:
    """Show the report, write it if that is wanted, and say how the run ends."""
    console.result(report)
    if json_path is not None:
        save_json(json_path, report.to_plain())
    if report.failed:
        return ExitCode.CHECK_FAILED
    return ExitCode.DEVICE if report.mistakes else ExitCode.SUCCESS


async def _rest(vm: Vm, began: float, duration: float, console: Console, stop: asyncio.Event) -> None:
    """Let the VM run until its duration is over, or until Ctrl-C, watching for lost interrupts."""
    while not stop.is_set() and (not duration or vm.now() - began < duration):
        left = max(0.0, duration - (vm.now() - began)) if duration else 1.0
        console.progress("running", int(vm.now() - began), int(duration))
        await vm.pass_time(min(0.25, left) or 0.01)
        vm.watchdog.check(vm.now())
