"""SCSI requests, as storvsp and storvsc have counted them (L9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from guest.drivers.storvsc.driver import Storvsc
from guest.drivers.storvsc.words import StorChannelWords
from lab.report.check import Check
from lab.report.cut import Cut

CONTROLLER: Final = "storvsc"


def checks(cut: Cut) -> Iterator[Check]:
    """Of controllers that storvsc drives and whose channels were opened once: what one has counted goes with it."""
    opened, gone = dict(cut.guest.opened()), cut.host["gone"]
    for controller, kind, _ in cut.offers():
        if kind != CONTROLLER or "." in controller:
            continue
        channels = {name: channel for name, _, channel in cut.offers() if name.split(".")[0] == controller}
        if not all(
            channel["opens"] == 1
            and channel["relid"] in opened
            and name not in gone
            and cut.guest.driver_of(cut.guest.vmbus.channels[channels[controller]["relid"]]) == Storvsc.name
            for name, channel in channels.items()
        ):
            continue
        counts = [cut.guest.driver_words(opened[channel["relid"]], StorChannelWords) for channel in channels.values()]
        taken = sum(each.completions + each.unknown for each in counts if isinstance(each, StorChannelWords))
        answered = cut.host["devices"][controller]["counts"]["completions"]
        yield Check(f"requests of {controller}", "host answered", answered, "guest completed", taken, "L9")
