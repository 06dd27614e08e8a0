"""Each fault with the invariants that it must turn red, and no others.

A new fault is a function in ``host.faults`` or ``guest.faults``, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from guest.vmbus.policy import Policy

HEARTBEAT, SHUTDOWN, UNWANTED, STORVSC = 7, 9, 12, 14
"""Relids of the VM that faults are tried on."""
NOBODYS = 200
"""An event flag that no channel has."""
BOTH: Final = tuple(Policy)
RFC: Final = (Policy.RFC,)
LEGACY: Final = (Policy.LEGACY,)


@dataclass(frozen=True, slots=True)
class Case:
    """``where`` is ``host`` or ``cpu<n>``; ``red`` are the invariants that the fault breaks."""

    where: str
    fault: str
    red: frozenset[str]
    arguments: dict[str, Any] = field(default_factory=dict)
    under: tuple[Policy, ...] = BOTH
    ends_work: bool = False
    """The guest's programs cannot run any more, so it comes when they have."""


def _case(where: str, fault: str, red: str, under: tuple[Policy, ...] = BOTH, **arguments: Any) -> Case:
    return Case(where, fault, frozenset(red.split()), arguments, under, fault == "dead_cpu")


CASES: Final = (
    _case("host", "suppress_signals", "I1 I10 L4", relid=HEARTBEAT),
    _case("host", "lose_flag", "I1 I10 L1 L4", relid=HEARTBEAT),
    _case("host", "invent_flag", "I10 L1", relid=NOBODYS),
    _case("host", "invent_ipi", "L1", vp=0),
    _case("host", "stray_signal", "I10", flag=NOBODYS),
    _case("host", "forget_message", "L1"),
    _case("host", "forget_answer", "L4"),
    _case("host", "forget_key", "L7"),
    _case("host", "forget_frame", "L8"),
    _case("host", "forget_request", "L9"),
    _case("host", "flip_byte", "L6", offset=4096),
    _case("host", "misdirect", "I7", name="shutdown", vp=1),
    _case("cpu0", "stray_flag", "I10", flag=NOBODYS),
    _case("cpu0", "stray_message", "I26"),
    _case("cpu0", "stray_ipi", "L2"),
    _case("cpu0", "stray_doorbell", "L3", relid=STORVSC),
    _case("cpu0", "stray_handler", "I9", RFC, relid=SHUTDOWN),
    _case("cpu0", "stray_handler", "I10 I11", LEGACY, relid=SHUTDOWN),
    _case("cpu0", "stray_callback", "L2", RFC),
    _case("cpu0", "stray_callback", "I12 L2", LEGACY),
    _case("cpu0", "unsorted_flag", "I10"),
    _case("cpu0", "missorted_flag", "I11"),
    _case("cpu0", "uncounted_interrupt", "I9 I10 I13", RFC, relid=HEARTBEAT),
    _case("cpu0", "uncounted_callback", "I9", RFC, relid=STORVSC),
    _case("cpu0", "uncounted_callback", "I10", LEGACY, relid=STORVSC),
    _case("cpu0", "wrong_hyp", "I12"),
    _case("cpu0", "untold_target", "I6 I7 I8", RFC, relid=SHUTDOWN, cpu=1),
    _case("cpu0", "untold_target", "I7", LEGACY, relid=SHUTDOWN, cpu=1),
    _case("cpu0", "untold_target", "I5 I7", LEGACY, relid=SHUTDOWN, cpu=63),
    _case("cpu0", "untold_target", "I5 I6 I7 I8", RFC, relid=SHUTDOWN, cpu=63),
    _case("cpu0", "wrong_effective", "I6 I8", RFC, relid=SHUTDOWN, cpu=1),
    _case("cpu0", "wrong_hwirq", "I3", RFC, relid=SHUTDOWN),
    _case("cpu1", "lost_handler", "I4", relid=SHUTDOWN),
    _case("cpu0", "stray_mapping", "I4 I28", RFC, relid=UNWANTED, owner=SHUTDOWN),
    _case("cpu0", "vanished_channel", "I4 I20", LEGACY, relid=UNWANTED),
    _case("cpu0", "vanished_directory", "I8 I20", RFC, relid=SHUTDOWN),
    _case("cpu0", "forgotten_open", "I19 I21", RFC, relid=SHUTDOWN),
    _case("cpu0", "unreadable_name", "I27", RFC, relid=SHUTDOWN),
    _case("cpu0", "miscounted_total", "I9 I11 I13", RFC),
    _case("cpu0", "miscounted_total", "I13", LEGACY),
    _case("cpu0", "uncounted_post", "I26"),
    _case("cpu0", "uncounted_bytes", "L5", relid=SHUTDOWN),
    _case("cpu0", "invented_answer", "I15", RFC),
    _case("cpu0", "stray_mark", "I25", cpu=2),
    _case("cpu1", "forgotten_synic", "I18"),
    _case("cpu2", "dead_cpu", "I2 I10 I18", flag=NOBODYS),
)
