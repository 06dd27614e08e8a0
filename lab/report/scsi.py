"""SCSI requests, as storvsp and storvsc have counted them (L9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from guest.drivers.storvsc.words import StorChannelWords
from lab.report.check import Check
from lab.report.cut import Cut

CONTROLLER: Final = "storvsc"


def checks(cut: Cut) -> Iterator[Check]:
    """Of controllers that storvsc drives and whose channels were opened once: what one has counted goes with it."""
    once = cut.opened_once()
    for controller, _, tally in cut.devices(CONTROLLER):
        channels = [name for name in cut.host["channels"] if name.split(".")[0] == controller]
        if not once.keys() >= set(channels):
            continue
        counts = [cut.guest.driver_words(once[name], StorChannelWords) for name in channels]
        taken = sum(each.completions + each.unknown for each in counts)
        yield Check(f"requests of {controller}", "host answered", tally["completions"], "guest completed", taken, "L9")
