"""Where the kernel puts channels, by the rules alone: an implementation that shares nothing with the guest's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FIRST_IRQ = 24
"""Above the pins of the I/O APIC."""


@dataclass(frozen=True)
class Offered:
    """A channel in the order of its offer; ``device`` tells whose it is."""

    relid: int
    device: str
    perf: bool
    index: int = 0


def irqs(offers: Sequence[Offered]) -> dict[int, int]:
    """IRQ by relid: the lowest free number, in the order of the offers."""
    return {offer.relid: FIRST_IRQ + place for place, offer in enumerate(offers)}


def cpus(offers: Sequence[Offered], nodes: Sequence[Sequence[int]]) -> dict[int, int]:
    """CPU by relid (``init_vp_index``, nothing isolated, all online)."""
    count = sum(len(node) for node in nodes)
    taken: list[set[int]] = [set() for _ in nodes]
    turn = _round_and_round(len(nodes))
    placed: dict[int, int] = {}
    for offer in offers:
        if not offer.perf:
            placed[offer.relid] = 0
            continue
        siblings = {placed[other.relid] for other in offers if other.device == offer.device and other.relid in placed}
        for attempt in range(1, count + 2):
            node = next(turn)
            free = set(nodes[node]) - taken[node]
            if not free:
                taken[node].clear()
                free = set(nodes[node])
            cpu = min(free)
            taken[node].add(cpu)
            if offer.index >= count or attempt > count or cpu not in siblings:
                break
        placed[offer.relid] = cpu
    return placed


def _round_and_round(count: int) -> Iterator[int]:
    while True:
        yield from range(count)
