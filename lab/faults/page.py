"""docs/faults.md."""

from __future__ import annotations

from lab.faults.table import FaultTable
from lab.report import CATALOGUE

HEAD = """# Faults and invariants

Made by `./launch.sh faults --markdown docs/faults.md`; a test says when it is out of date. Each fault is injected into
a simulated VM of its own, which is otherwise busy; x marks the invariants of the report that turned red. Every
invariant has at least one fault that it notices; without a fault all are green.

"""


def page(tables: list[FaultTable]) -> str:
    """The whole page."""
    parts = [HEAD]
    parts += [f"## Policy {table.policy.value}\n\n{table.to_markdown()}\n" for table in tables]
    known = {number for table in tables for number in table.invariants}
    parts.append("## Invariants\n\n")
    parts += [f"* **{number}** {says}\n" for number, says in CATALOGUE.items() if number in known]
    return "".join(parts)
