"""The first record of a journal: which VM it is of, so that the simulation can make an equal one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lab.image import without_made_disks
from lab.spec import VmSpec
from protocol.errors import OperatorError
from protocol.journal import Record

EVENT: Final = "vm"
CONTROL_PLANE: Final = (
    *("operator", "inject", "write", "written", "program", "stop", "ended", "settle", "settled"),
    *("post", "message", "register", "printk", "complaint"),
)
"""What somebody outside does to a VM, and what host and guest say to each other: enough to follow a run."""


def opening(spec: VmSpec) -> Record:
    """The event ``vm``. Images that were made for the run are left out: equal ones are made again."""
    return Record(0, "lab", EVENT, (without_made_disks(replace(spec, trace=None, trace_events=[])).to_json(),))


def described(records: Sequence[Record]) -> VmSpec:
    """The VM that a journal is of. Raises OperatorError: it does not say."""
    if not records or records[0].event != EVENT:
        raise OperatorError("this journal does not begin with the VM that it is of: take one of run or soak --trace")
    return VmSpec.from_json(records[0].fields[0])
