"""Everything that a run can be judged by."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lab.report.catalogue import CATALOGUE
from lab.report.channels import ChannelRow
from lab.report.check import Check
from lab.report.messages import MessageRow
from lab.report.vps import VpRow


@dataclass(slots=True)
class Report:
    """``to_plain`` is what ``--json`` writes."""

    policy: str
    version: str
    channels: list[ChannelRow]
    vps: list[VpRow]
    messages: list[MessageRow]
    devices: dict[str, Any]
    checks: list[Check]
    totals: dict[str, int]
    complaints: list[str]
    interrupts: str = ""
    """/proc/interrupts at the cut; a moment later there may be more."""
    warnings: list[str] = field(default_factory=list)
    """Of drivers from outside the tree, which went on."""
    mistakes: list[str] = field(default_factory=list)
    """Of drivers and devices from outside the tree: each cost the context, or the device, that made it."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.failed]

    @property
    def defects(self) -> list[Check]:
        """What a known defect of the design under test breaks."""
        return [check for check in self.checks if check.defect and not check.holds]

    @property
    def invariants(self) -> dict[str, list[Check]]:
        """The checks by the invariant that they are about; those that do not apply to this VM have none."""
        return {number: [c for c in self.checks if c.invariant == number] for number in CATALOGUE}

    @property
    def red(self) -> set[str]:
        """The invariants that do not hold."""
        return {check.invariant for check in self.failed}

    def to_plain(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "channels": [asdict(row) for row in self.channels],
            "vps": [asdict(row) for row in self.vps],
            "messages": [asdict(row) for row in self.messages],
            "devices": self.devices,
            "invariants": [
                {
                    "invariant": number,
                    "says": CATALOGUE[number],
                    "checks": len(checks),
                    "held": sum(check.holds for check in checks),
                    "defects": sorted({check.defect for check in checks if check.defect and not check.holds}),
                }
                for number, checks in self.invariants.items()
            ],
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "totals": self.totals,
            "complaints": self.complaints,
            "interrupts": self.interrupts,
            "warnings": self.warnings,
            "mistakes": self.mistakes,
            **self.facts,
        }
