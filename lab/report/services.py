"""Devices that ask, and the drivers that answer (L4)."""

from __future__ import annotations

from collections.abc import Iterator

from guest.drivers.hv_util.service import UtilWords
from lab.report.check import Check
from lab.report.cut import Cut

SERVICES = ("heartbeat", "shutdown", "timesync", "kvp", "vss")
"""Kinds of devices that ask, and hear an answer to everything."""


def checks(cut: Cut) -> Iterator[Check]:
    """Requests sent are answered, answers are received. Of channels that were opened once: a request may die with
    its channel."""
    once = cut.opened_once()
    for name, _, tally in cut.devices(*SERVICES):
        if name not in once:
            continue
        util = cut.guest.driver_words(once[name], UtilWords)
        yield Check(f"{name} requests", "host sent", tally["sent"], "guest answered", util.answered, "L4")
        received = tally["answered"] + tally["late"]
        yield Check(f"{name} answers", "guest answered", util.answered, "host received", received, "L4")
