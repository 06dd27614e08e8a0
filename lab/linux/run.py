"""``linux``: boot a real kernel, let it do something, compare what it says with what the host says, switch it off."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab.linux.beside import Emulated, emulated
from lab.linux.exercise import exercise
from lab.linux.report import LinuxReport, make_report
from lab.linux.terminal import terminal
from lab.linux.vm import LinuxVm, print_console
from lab.output import save_json
from lab.report import Check
from lab.spec import VmSpec
from protocol.errors import ExitCode, OperatorError

IMAGE_BYTES = 4 << 20
SCRIPT = "/tmp/script"


@dataclass(frozen=True, slots=True)
class LinuxOptions:
    """What a boot is asked for besides the VM itself."""

    script: str | None = None
    keep: bool = False
    json_path: str | None = None


async def run_linux(spec: VmSpec, options: LinuxOptions) -> ExitCode:
    """The whole story. The guest's console goes to standard output as it comes."""
    script = _read(options.script) if options.script else None
    began = time.monotonic()
    async with LinuxVm(spec, print_console) as vm:
        booted = time.monotonic() - began
        exercised = await exercise(vm)
        status = None if script is None else await _run_script(vm, script)
        if options.keep:
            await terminal(vm)
        report = await make_report(vm)
        report.checks[:0] = exercised
        if status is not None:
            report.checks.insert(0, Check("script", "status", status, "expected", 0, highlight=True))
        report.facts["boot_seconds"] = round(booted, 2)
        how = await vm.power_off()
        report.checks.append(
            Check("shutdown", "host", how, "expected", "bridge: the guest has powered off", highlight=True)
        )
    report.facts["seconds"] = round(time.monotonic() - began, 2)
    ours = await emulated(spec)
    report.checks += _placement_checks(report, ours)
    _print(report, ours)
    if options.json_path is not None:
        save_json(options.json_path, report.to_plain())
    return ExitCode.CHECK_FAILED if report.failed else ExitCode.SUCCESS


async def _run_script(vm: LinuxVm, script: bytes) -> int:
    """Run it in the guest, its output on the console; what it returned."""
    await vm.write_file(SCRIPT, script)
    done = await vm.attempt(f"chmod +x {SCRIPT}; {SCRIPT} >/dev/console 2>&1", seconds=3600)
    return done.status


def _placement_checks(report: LinuxReport, ours: dict[int, Emulated]) -> list[Check]:
    """The kernel and the emulated guest put each channel on the same CPU."""
    return [
        Check(f"CPU of relid {channel.relid}", "kernel", channel.cpu, "emulated", ours[channel.relid].cpu)
        for device in report.devices
        for channel in device.channels
        if channel.relid in ours
    ]


def _print(report: LinuxReport, ours: dict[int, Emulated]) -> None:
    out = Console(highlight=False, soft_wrap=True)
    out.print(report.interrupts, markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("relid", "device", "driver", "CPU", "interrupts", "doorbells", "emulated: CPU", "interrupts"):
        table.add_column(heading, justify="left" if heading in ("device", "driver") else "right", no_wrap=True)
    for device in report.devices:
        for channel in device.channels:
            counts = map(str, (channel.cpu, channel.interrupts, channel.events))
            other = ours.get(channel.relid)
            beside = ("-", "-") if other is None else (str(other.cpu), str(other.interrupts))
            table.add_row(str(channel.relid), device.name, device.driver or "-", *counts, *beside)
    out.print(table)
    for check in report.checks:
        if not check.holds:
            out.print(f"[red]FAILED[/red]    {escape(str(check))}")
        elif check.highlight:
            out.print(f"[green]verified[/green]  {escape(str(check))}")
    held, colour = len(report.checks) - len(report.failed), "red" if report.failed else "green"
    out.print(
        f"[{colour}]{'FAILED' if report.failed else 'verified'}[/{colour}]  {held} of {len(report.checks)} checks of "
        f"Linux {report.kernel} against the host; protocol {report.version}, {report.vcpus} vCPUs, "
        f"up in {report.facts['boot_seconds']} s, off after {report.facts['seconds']} s"
    )
    for complaint in report.complaints:
        out.print(f"[yellow]host says[/yellow] {escape(complaint)}")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperatorError(f"cannot read the script {path}: {error.strerror}") from None


def say(line: str) -> None:
    """What takes time before the guest is there."""
    click.echo(f"vmbus-lab: {line}", err=True)
