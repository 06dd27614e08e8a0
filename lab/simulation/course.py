"""The course of a real run: what its journal says came after what, so that a simulation can go the same way.

No seed repeats a real run, for the operating system was its scheduler. What its participants did is matched with what
they do in the simulation, each participant's in its own order, and the first record of the real order that has not come
yet says whose turn it is.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lab.trace import MessageDecoder
from protocol.errors import PeerError
from protocol.journal import Record, pack, unpack

EVENT: Final = "course"
ACTIONS: Final = frozenset({"operator", "inject", "write", "program", "stop", "settle"})
"""What comes from outside: it is not waited for but done."""
MESSAGES: Final = frozenset({"post", "message"})
ENDS: Final = frozenset({"written", "settled", "ended"})
"""Of actions that take their time."""
FOLLOWED: Final = MESSAGES | {"register", "printk"} | ENDS
LOOK_AHEAD: Final = 64
"""So many records of a participant may come in another order before one is taken for another."""
NUMBERS: Final = re.compile(r"\[sd\w+\]|\d+")
"""In the kernel log: which of two disks is found first is nobody's choice, and sizes and addresses follow."""

Key = tuple[Any, ...]


@dataclass(slots=True)
class Step:
    """One record of the real run. ``place`` is its number in the real order."""

    place: int
    record: Record
    key: Key
    open: bool = True

    @property
    def is_action(self) -> bool:
        return self.record.event in ACTIONS

    @property
    def involved(self) -> tuple[str, ...]:
        """Who has to go on for it: a message to or from a VP is the doing of both ends."""
        record = self.record
        if record.event in MESSAGES or record.event == "register":
            return record.who, f"cpu{record.fields[0]}"
        return (record.who,)


class Reader:
    """What makes two records the same: who does what to which channel, not where in memory."""

    def __init__(self) -> None:
        self._decoder = MessageDecoder()

    def key(self, record: Record) -> Key:
        match record.event, record.fields:
            case (("post" | "message"), (vp, _, payload)):
                return record.event, vp, *self._message(payload)
            case "register", (vp, register, _, _):
                return record.event, vp, register
            case "printk", (line,):
                return record.event, NUMBERS.sub("#", line)
        return record.event, *record.fields

    def _message(self, payload: bytes) -> Key:
        try:
            message = self._decoder.decode(payload)
        except PeerError:
            return ("?", payload)
        return type(message).__name__, *(getattr(message, name, None) for name in ("relid", "target_vp", "status"))


class Course:
    """The records of a real run, and how far the simulation has come along them."""

    def __init__(self, records: Iterable[Record]) -> None:
        reader = Reader()
        chosen = (record for record in records if record.event in ACTIONS | FOLLOWED)
        self.steps = [Step(place, record, reader.key(record)) for place, record in enumerate(chosen)]
        self.met: Counter[str] = Counter()
        """By event: how many records of the real run have come in the simulation."""
        self.given_up: list[Step] = []
        """Those that have not come when everybody could have gone on."""
        self._reader = Reader()
        self._at = 0
        self._by_author: dict[str, deque[Step]] = {}
        self._by_involved: dict[str, deque[Step]] = {}
        for step in self.steps:
            if not step.is_action:
                self._by_author.setdefault(step.record.who, deque()).append(step)
            for who in step.involved:
                self._by_involved.setdefault(who, deque()).append(step)

    @classmethod
    def within(cls, records: Sequence[Record]) -> Course | None:
        """The course that a simulated run has followed, from its journal; None if it has followed none."""
        found = next((record for record in records[:2] if record.event == EVENT), None)
        return None if found is None else cls(unpack(found.fields[0]))

    def opening(self) -> Record:
        """The course, for the beginning of the journal of a simulation that has followed it."""
        return Record(0, "lab", EVENT, (b"".join(pack(step.record) for step in self.steps),))

    @property
    def next(self) -> Step | None:
        """The first of the real order that has neither come nor been given up; None at the end."""
        while self._at < len(self.steps) and not self.steps[self._at].open:
            self._at += 1
        return self.steps[self._at] if self._at < len(self.steps) else None

    @property
    def action_due(self) -> bool:
        """Everything before the next action has come."""
        step = self.next
        return step is not None and step.is_action

    @property
    def end_due(self) -> bool:
        """Next an action comes to its end, which others may have waited for."""
        step = self.next
        return step is not None and step.record.event in ENDS

    def place_of(self, who: str) -> int:
        """Where in the real order this participant has something to do next."""
        steps = self._by_involved.get(who, ())
        while steps and not steps[0].open:
            steps.popleft()
        return steps[0].place if steps else len(self.steps)

    def meet(self, record: Record) -> bool:
        """The simulation has come to ``record``: whether it is the next that the participant did in the real run."""
        if record.event not in FOLLOWED:
            return False
        key, steps = self._reader.key(record), self._by_author.get(record.who, deque())
        while steps and not steps[0].open:
            steps.popleft()
        for step in islice((step for step in steps if step.open), LOOK_AHEAD):
            if step.key == key:
                self._close(step)
                self.met[record.event] += 1
                return True
        return False

    def take_action(self) -> Record:
        """The action that is due, to be done now."""
        step = self.next
        assert step is not None and step.is_action
        self._close(step)
        return step.record

    def give_up(self) -> None:
        """The next record does not come: the orders have parted here, and it goes on behind it."""
        step = self.next
        assert step is not None
        self._close(step)
        self.given_up.append(step)

    def _close(self, step: Step) -> None:
        step.open = False

    def fraction(self, events: frozenset[str] = FOLLOWED) -> float:
        """Of the real run's records with these events, how many have come."""
        of = sum(step.record.event in events for step in self.steps)
        return sum(self.met[event] for event in events) / of if of else 1.0

    def __str__(self) -> str:
        of = sum(not step.is_action for step in self.steps)
        text = f"followed {self.met.total():,} of {of:,} events"
        if not self.given_up:
            return text
        first = self.given_up[0]
        return f"{text}; parted first at {first.record.time / 10_000_000:.6f} s: {first.record.who} {_text(first.key)}"


def _text(key: Key) -> str:
    return " ".join(str(part) for part in key if part is not None)
