"""Runs a transition table."""

from collections.abc import Callable, Mapping
from typing import Generic

from host.vmbus.tables.shape import A, E, Fault, S, Table
from protocol.errors import OperatorError, PeerError


class WrongState(PeerError):
    """The guest sent something that the state forbids.  It is ignored, apart from the answer the table gives it."""

    def __init__(self, what: str, state: str, why: str) -> None:
        super().__init__(f"{what} in state {state}: {why}")
        self.what = what
        self.state = state


class Machine(Generic[S, E, A]):
    """A state, the table that governs it, and what its actions mean here.

    An action may fire further events (a device that closes at once does), so tables put such actions last.
    """

    def __init__(self, table: Table[S, E, A], state: S, actions: Mapping[A, Callable[[], None]]) -> None:
        self.state = state
        self._table = table
        self._actions = actions

    def fire(self, event: E) -> None:
        """Enter the next state, act, and raise WrongState or OperatorError if the table says so."""
        before = self.state
        transition = self._table[before, event]
        self.state = transition.next
        for action in transition.actions:
            self._actions[action]()
        match transition.fault:
            case Fault.GUEST:
                raise WrongState(event.name, before.name, transition.why)
            case Fault.OPERATOR:
                raise OperatorError(f"{transition.why} ({before.name})")
            case Fault.BUG:
                raise AssertionError(f"{event.name} in state {before.name}: {transition.why}")
