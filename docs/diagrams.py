"""Draws the state machines of docs/design.md from the tables that the code runs: ``python docs/diagrams.py``.

``--check`` changes nothing and exits with 1 if the document is out of date; the tests run it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from host.vmbus.tables import TABLES
from host.vsp.net import control
from host.vsp.net import handshake as netvsp
from host.vsp.storage import handshake as storvsp

DOCUMENT = Path(__file__).parent / "design.md"
BLOCK = re.compile(r"(<!-- drawn: (?P<name>\w+) -->\n).*?(<!-- /drawn -->)", re.DOTALL)


def edges(table: Mapping[tuple[Enum, Enum], Any]) -> Iterator[tuple[Enum, Enum, Enum]]:
    """(state, event, next state) for every legitimate event that changes the state."""
    for (state, event), transition in table.items():
        if getattr(transition, "fault", None) is None:
            following: Enum = getattr(transition, "next", transition)
            if following is not state:
                yield state, event, following


def draw(table: Mapping[tuple[Enum, Enum], Any]) -> str:
    """A Mermaid state diagram; parallel edges share a label."""
    labels: dict[tuple[str, str], list[str]] = {}
    for state, event, following in edges(table):
        labels.setdefault((state.name, following.name), []).append(event.name)
    lines = [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in labels.items()]
    first = next(iter(table))[0].name
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *lines, "```", ""])


def rendered(text: str) -> str:
    """The document with every drawing made anew."""
    drawings = {**TABLES, "storvsp": storvsp.NEXT, "netvsp": netvsp.NEXT, "rndis": control.NEXT}
    return BLOCK.sub(lambda found: found[1] + draw(drawings[found["name"]]) + found[3], text)


def main() -> int:
    text = DOCUMENT.read_text()
    fresh = rendered(text)
    if "--check" in sys.argv:
        return int(fresh != text)
    DOCUMENT.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
