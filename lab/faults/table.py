"""All faults against all invariants, and what of it is not as declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from guest.vmbus.policy import Policy
from lab.faults.cases import CASES, Case
from lab.faults.trial import trial
from lab.report import CATALOGUE


@dataclass(slots=True)
class FaultTable:
    """One policy: the invariants that its VM has, and which of them each fault turned red."""

    policy: Policy
    invariants: list[str]
    red: list[tuple[Case, set[str]]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What is not as it should be, a line each."""

    def to_plain(self) -> dict[str, Any]:
        return {
            "policy": self.policy.value,
            "invariants": self.invariants,
            "faults": [
                {"where": case.where, "fault": case.fault, "arguments": case.arguments, "red": _in_order(red)}
                for case, red in self.red
            ],
            "wrong": self.wrong,
        }

    def to_markdown(self) -> str:
        """A row a fault, a column an invariant."""
        lines = [
            f"| fault | where | {' | '.join(self.invariants)} |",
            f"| --- | --- |{' :-: |' * len(self.invariants)}",
        ]
        for case, red in self.red:
            cells = " | ".join("x" if number in red else "" for number in self.invariants)
            lines.append(f"| {name_of(case)} | {case.where} | {cells} |")
        return "\n".join(lines) + "\n"


def name_of(case: Case) -> str:
    """The fault and, if it wants some, its arguments."""
    return " ".join([case.fault, *(f"{key}={value}" for key, value in case.arguments.items())])


def _in_order(red: set[str]) -> list[str]:
    return [number for number in CATALOGUE if number in red]


async def fault_table(policy: Policy, seed: int, progress: Callable[[str, int, int], None]) -> FaultTable:
    """Try every fault under ``policy``. ``progress`` is told (what, done, of)."""
    clean = await trial(policy, None, seed)
    table = FaultTable(policy, [number for number, checks in clean.invariants.items() if checks])
    if clean.red:
        table.wrong.append(f"without a fault, red: {', '.join(map(str, clean.failed))}")
    cases = [case for case in CASES if policy in case.under]
    for done, case in enumerate(cases):
        progress(f"{policy.value}: {name_of(case)}", done, len(cases))
        red = (await trial(policy, case, seed)).red
        table.red.append((case, red))
        if red != case.red:
            missing, extra = _in_order(set(case.red) - red), _in_order(red - case.red)
            table.wrong.append(f"{name_of(case)}: not red {missing}, red against expectation {extra}")
    ever = set().union(*(red for _, red in table.red))
    table.wrong += [f"{number} is never red: {CATALOGUE[number]}" for number in table.invariants if number not in ever]
    return table
