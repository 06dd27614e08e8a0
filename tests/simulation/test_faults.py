"""Every invariant of the report can turn red, and says so for the faults that are its own and for no others."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import pytest

from guest.vmbus.policy import Policy
from lab.faults import table
from lab.faults.cases import Case
from lab.faults.page import page
from lab.faults.table import FaultTable, fault_table
from lab.faults.trial import trial
from lab.report import CATALOGUE

ROOT = Path(__file__).parents[2]
SEED = 1
"""That of the command, whose table is in docs."""


def silent(what: str, done: int, of: int) -> None:
    pass


@cache
def tables() -> list[FaultTable]:
    return [asyncio.run(fault_table(policy, SEED, silent)) for policy in Policy]


def test_each_fault_turns_its_invariants_red_and_no_others() -> None:
    assert [line for each in tables() for line in each.wrong] == []


def test_every_invariant_of_the_catalogue_applies_to_some_vm() -> None:
    assert {number for each in tables() for number in each.invariants} == set(CATALOGUE)


def test_the_page_of_faults_is_up_to_date() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == page(tables()), "./launch.sh faults --markdown docs/faults.md"


async def test_a_fault_that_does_not_do_what_it_declares_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CASES", (Case("cpu0", "wrong_hyp", frozenset({"I1"})),))
    told = (await fault_table(Policy.RFC, SEED, silent)).wrong
    assert told[0] == "wrong_hyp: not red ['I1'], red against expectation ['I12']"
    assert "I2 is never red: no event flag is set on a CPU that is offline" in told


@pytest.mark.parametrize("policy", list(Policy))
async def test_without_a_fault_all_is_green_under_other_schedules_too(policy: Policy) -> None:
    for seed in range(2, 6):
        assert (await trial(policy, None, seed)).failed == []
