"""Round trips between two processes, all paths alive side by side and measured in turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from bench import raw, signals
from bench.channel import ChannelPair
from bench.pairs import Pair, Pairs
from bench.rounds import Progress, fastest

WARM_UP = 300
SLICES = 20
LEAD_IN = 5
"""Round trips in front of each slice, for what has got cold while the others ran."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Microseconds for one round trip, one entry for each round."""

    raw: list[float] = field(default_factory=list)
    signal: list[float] = field(default_factory=list)
    channel_legacy: list[float] = field(default_factory=list)
    channel_rfc: list[float] = field(default_factory=list)


def measure(rounds: int, trips: int, progress: Progress) -> RoundTrips:
    """``trips`` round trips on each path in each round."""
    result = RoundTrips()
    each = max(1, trips // SLICES)
    legacy, rfc = ChannelPair("legacy"), ChannelPair("rfc")
    with Pairs() as pairs:
        progress("round trips", 0, rounds)
        paths = {
            "raw": pairs.start("raw", raw.initiator, raw.responder),
            "signal": pairs.start("signal", signals.initiator, signals.responder),
            "channel_legacy": pairs.start("legacy", legacy.initiator, legacy.responder),
            "channel_rfc": pairs.start("rfc", rfc.initiator, rfc.responder),
        }
        for pair in paths.values():
            pair.play(min(WARM_UP, trips))
        for number in range(rounds):
            progress("round trips", number, rounds)
            best = fastest({path: partial(_slice, pair, each) for path, pair in paths.items()}, SLICES)
            for path, seconds in best.items():
                getattr(result, path).append(seconds / each * 1e6)
    return result


def _slice(pair: Pair, count: int) -> float:
    pair.play(LEAD_IN)
    return pair.play(count)
