"""Two guests' sequences side by side, and a verdict for each difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from lab.linux.differential.explained import EXPLANATIONS, Explanation
from lab.linux.differential.streams import Item, Streams


class Verdict(StrEnum):
    EQUAL = "equal"
    EXPLAINED = "explained"
    UNEXPLAINED = "UNEXPLAINED"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a run of items by their names, or what is not explained with all that there is."""

    where: str
    emulated: str
    real: str
    verdict: Verdict
    explanation: Explanation | None = None


def compare(emulated: Streams, real: Streams, explanations: Sequence[Explanation] = EXPLANATIONS) -> Iterator[Row]:
    """All rows, place by place. A place that only one guest has is compared with nothing."""
    for where in {**emulated, **real}:
        ours, theirs = emulated.get(where, []), real.get(where, [])
        matcher = SequenceMatcher(None, [item.text for item in ours], [item.text for item in theirs], autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag == "equal":
                yield Row(where, _names(ours[a:b]), _names(theirs[c:d]), Verdict.EQUAL)
            else:
                yield from _judge(where, ours[a:b], theirs[c:d], explanations)


def _judge(
    where: str, emulated: Sequence[Item], real: Sequence[Item], explanations: Sequence[Explanation]
) -> Iterator[Row]:
    """From the front, as much as one explanation covers. Of two sequences of different lengths it must cover all."""
    length = max(len(emulated), len(real))
    apart = bool(emulated and real) and len(emulated) != len(real)
    for size in (length,) if apart else range(length, 0, -1):
        for explanation in explanations:
            if explanation.fits(where, emulated[:size], real[:size]):
                yield Row(where, _shown(emulated[:size]), _shown(real[:size]), Verdict.EXPLAINED, explanation)
                if size < length:
                    yield from _judge(where, emulated[size:], real[size:], explanations)
                return
    size = length if apart else 1
    yield Row(where, _all(emulated[:size]), _all(real[:size]), Verdict.UNEXPLAINED)
    if size < length:
        yield from _judge(where, emulated[size:], real[size:], explanations)


def _names(items: Sequence[Item]) -> str:
    counts = Counter(item.name for item in items)
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts.items())


def _shown(items: Sequence[Item]) -> str:
    """What is explained, or equal: one item in full, several by their names."""
    return _names(items) if len(items) > 1 else _all(items)


def _all(items: Sequence[Item]) -> str:
    return "\n".join(item.text for item in items) or "-"
