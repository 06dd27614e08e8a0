"""Round trips between two processes, all paths alive side by side and measured in turns."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from bench import raw, signals
from bench.channel import ChannelPair
from bench.pairs import Initiator, Pair, Pairs, Responder
from bench.rounds import Progress, fastest
from guest.vmbus.policy import Policy

WARM_UP = 300
STARTS = 3
"""How often a round starts its processes afresh, for they and their sockets' threads stay on the cores they choose."""
SLICES = 14
LEAD_IN = 5
"""Round trips in front of each slice, for what has got cold while the others ran."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Microseconds for one round trip, one entry for each round. ``tasklet`` is ``rfc`` with a driver that defers."""

    raw: list[float] = field(default_factory=list)
    signal: list[float] = field(default_factory=list)
    legacy: list[float] = field(default_factory=list)
    rfc: list[float] = field(default_factory=list)
    tasklet: list[float] = field(default_factory=list)


def measure(rounds: int, trips: int, progress: Progress) -> RoundTrips:
    """``trips`` round trips on each path in each round."""
    result = RoundTrips()
    each = max(1, trips // (STARTS * SLICES))
    for number in range(rounds):
        best: dict[str, float] = {}
        for start in range(STARTS):
            progress("round trips", number * STARTS + start, rounds * STARTS)
            for path, seconds in _fastest(each).items():
                best[path] = min(seconds, best.get(path, seconds))
        for path, seconds in best.items():
            getattr(result, path).append(seconds / each * 1e6)
    return result


def _fastest(each: int) -> dict[str, float]:
    """Seconds of the fastest slice of ``each`` round trips, for each path."""
    with ExitStack() as stack:
        paths = _start(stack)
        for pair in paths.values():
            pair.play(WARM_UP)
        return fastest({path: partial(_slice, pair, each) for path, pair in paths.items()}, SLICES)


def _start(stack: ExitStack) -> dict[str, Pair]:
    guests = {
        "legacy": ChannelPair(Policy.LEGACY),
        "rfc": ChannelPair(Policy.RFC),
        "tasklet": ChannelPair(Policy.RFC, in_tasklet=True),
    }
    for guest in guests.values():
        stack.enter_context(closing(guest))
    bodies: dict[str, tuple[Initiator, Responder]] = {
        "raw": (raw.initiator, raw.responder),
        "signal": (signals.initiator, signals.responder),
        **{name: (guest.initiator, guest.responder) for name, guest in guests.items()},
    }
    pairs = stack.enter_context(Pairs())
    return {name: pairs.start(name, *body) for name, body in bodies.items()}


def _slice(pair: Pair, count: int) -> float:
    pair.play(LEAD_IN)
    return pair.play(count)
