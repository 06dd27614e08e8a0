"""Frames and their bytes, as netvsp and the guest's network layer have counted them (L8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from lab.report.check import Check
from lab.report.cut import Cut

NIC: Final = "netvsc"


def checks(cut: Cut) -> Iterator[Check]:
    """Channel by channel, over all openings, of all NICs together: a name such as eth0 may have had several of them."""
    nics = [counts for _, _, counts in cut.devices(NIC)]
    if not nics:
        return
    host: Counter[str] = Counter()
    for counts in nics:
        host.update(counts)
    for number, queues in enumerate(zip(*(queues for _, queues in cut.guest.net.devices), strict=True)):
        yield from _one_way(
            f"to channel {number} of the NICs",
            ("host sent", "guest received"),
            (host[f"received_frames.{number}"], sum(queue.rx_frames for queue in queues)),
            (host[f"received_bytes.{number}"], sum(queue.rx_bytes for queue in queues)),
            host[f"abandoned_frames.{number}"],
        )
        yield from _one_way(
            f"from channel {number} of the NICs",
            ("guest sent", "host received"),
            (sum(queue.tx_frames for queue in queues), host[f"transmitted_frames.{number}"]),
            (sum(queue.tx_bytes for queue in queues), host[f"transmitted_bytes.{number}"]),
            sum(queue.tx_abandoned for queue in queues),
        )


def _one_way(
    way: str, ends: tuple[str, str], frames: tuple[int, int], sizes: tuple[int, int], in_doubt: int
) -> Iterator[Check]:
    """What was sent and what was received.

    Of frames under way when a channel is closed the sender knows only that they were never acknowledged: so many are
    ``in_doubt``, and no more may be missing. Their bytes nobody knows.
    """
    sender, receiver = ends
    sent, received = frames
    if not in_doubt:
        yield Check(f"frames {way}", sender, sent, receiver, received, "L8")
        yield Check(f"bytes of frames {way}", sender, sizes[0], receiver, sizes[1], "L8")
        return
    missing = min(max(sent - received, 0), in_doubt)
    yield Check(f"frames {way}", sender, sent, f"{receiver} + lost with their channel", received + missing, "L8")
