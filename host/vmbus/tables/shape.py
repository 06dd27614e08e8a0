"""The shape that all transition tables share, so that code runs them and documents draw them.

A table is total: every pair of a state and an event has a :class:`Transition`.  What is forbidden is said, not left
out, and says who is to blame.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
A = TypeVar("A", bound=Enum)


class Fault(Enum):
    """Who is to blame for an event that must not happen in a state."""

    GUEST = "the guest broke the protocol: complain, otherwise ignore"
    OPERATOR = "whoever runs the host asked for the impossible: refuse"
    BUG = "cannot happen: the host's own parts disagree"


@dataclass(frozen=True, slots=True)
class Transition(Generic[S, A]):
    """What an event does: the next state is entered first, then the actions run in order, then the fault is raised."""

    next: S
    actions: tuple[A, ...] = ()
    fault: Fault | None = None
    why: str = ""


Table: TypeAlias = Mapping[tuple[S, E], Transition[S, A]]


@dataclass(frozen=True, slots=True)
class Cell(Generic[S, A]):
    """A transition as written in a row: ``next`` None means that the state stays."""

    next: S | None
    actions: tuple[A, ...] = ()
    fault: Fault | None = None
    why: str = ""


def to(state: S, *actions: A) -> Cell[S, A]:
    """Enter ``state``, then act."""
    return Cell(state, actions)


def stay(*actions: A) -> Cell[S, A]:
    """Legitimate, and changes nothing but what the actions do."""
    return Cell(None, actions)


def wrong(why: str, *actions: A) -> Cell[S, A]:
    """The guest's fault; ``actions`` are the answer it gets nevertheless."""
    return Cell(None, actions, Fault.GUEST, why)


def refused(why: str) -> Cell[S, A]:
    """The operator's fault."""
    return Cell(None, (), Fault.OPERATOR, why)


def never(why: str) -> Cell[S, A]:
    """Our own fault."""
    return Cell(None, (), Fault.BUG, why)


def table(
    states: Iterable[S],
    events: Iterable[E],
    rows: Mapping[S, Mapping[E, Cell[S, A]]],
    otherwise: Mapping[E, Cell[S, A]],
) -> dict[tuple[S, E], Transition[S, A]]:
    """Fill in the table: ``rows`` first, ``otherwise`` for the cells that a row does not mention.

    KeyError names the event that neither mentions.
    """
    kinds = tuple(events)
    return {
        (state, event): _settle(state, rows[state].get(event) or otherwise[event])
        for state in states
        if state in rows
        for event in kinds
    }


def _settle(state: S, cell: Cell[S, A]) -> Transition[S, A]:
    return Transition(state if cell.next is None else cell.next, cell.actions, cell.fault, cell.why)
