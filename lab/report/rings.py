"""What lies in the rings at the cut (I1, L5)."""

from __future__ import annotations

from collections.abc import Iterator

from lab.report.check import Check
from lab.report.cut import Cut


def checks(cut: Cut) -> Iterator[Check]:
    """A ring with data needs somebody who will look; what one end has written, the other has read or will."""
    full, expected = {}, {}
    for relid, words in cut.guest.opened():
        up, down = cut.unread(words)
        if down and words.callback:  # without one the guest has stopped looking, and has said so
            full[int(relid)] = down
            pending = any(relid in port["flags"] for cpu, port in enumerate(cut.ports) if cut.guest.online >> cpu & 1)
            if pending or cut.guest.vmbus.callback_events[relid].scheduled:
                expected[int(relid)] = down
        yield from _bytes(cut, relid, words.gpadl, up, down)
    yield Check("rings to the guest", "with data", full, "with data and an interrupt due", expected, "I1")


def _bytes(cut: Cut, relid: int, gpadl: int, up: int, down: int) -> Iterator[Check]:
    channel = next((channel for _, _, channel in cut.offers() if channel["relid"] == relid), None)
    if channel is None:
        return
    rings = [port["rings"].get(gpadl, (0, 0)) for port in cut.ports]
    at = f"relid {relid} ({cut.name_of(relid)})"
    read = sum(ring[1] for ring in rings) + down
    yield Check(f"bytes to {at}", "host wrote", channel["bytes_written"], "CPUs read + in the ring", read, "L5")
    written = sum(ring[0] for ring in rings)
    heard = channel["bytes_read"] + up
    yield Check(f"bytes from {at}", "CPUs wrote", written, "host read + in the ring", heard, "L5")
