"""From a cut to its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from guest.kernel.oops import Severity
from lab.report import (
    affinity,
    channels,
    interrupts,
    life,
    messages,
    nics,
    procfs,
    rings,
    scsi,
    services,
    small_devices,
    vps,
)
from lab.report.check import Check
from lab.report.cut import Cut
from lab.report.report import Report

INVARIANTS: Final[tuple[Callable[[Cut], Iterator[Check]], ...]] = (
    rings.checks,
    vps.checks,
    interrupts.checks,
    channels.checks,
    procfs.checks,
    life.checks,
    affinity.checks,
    messages.checks,
    services.checks,
    small_devices.checks,
    nics.checks,
    scsi.checks,
)


def make_report(cut: Cut) -> Report:
    """Tables and invariants of a consistent cut."""
    return Report(
        policy=cut.policy.value,
        version=cut.host["version"],
        channels=channels.rows(cut),
        vps=vps.rows(cut),
        messages=messages.rows(cut),
        devices=cut.host["devices"],
        checks=[check for invariant in INVARIANTS for check in invariant(cut)],
        totals=vps.totals(cut),
        complaints=cut.host["complaints"],
        interrupts=cut.read("/proc/interrupts"),
        warnings=cut.guest.said_of_modules(Severity.WARNING),
        mistakes=[
            *(f"driver {line}" for line in cut.guest.said_of_modules(Severity.OOPS)),
            *(f"device {line}" for line in cut.host["failures"]),
        ],
    )
