"""The tables as such: total, without dead ends, and each forbidden cell says why."""

from enum import Enum
from itertools import product
from typing import Any

import pytest

from host.vmbus.tables import TABLES, Fault, Table
from host.vmbus.tables.channel import ChannelAction, ChannelState
from host.vmbus.tables.connection import ConnectionState
from host.vmbus.tables.gpadl import GpadlState
from host.vmbus.tables.retarget import RetargetState

START: dict[str, Enum] = {
    "connection": ConnectionState.DISCONNECTED,
    "channel": ChannelState.CLIENT_RELEASED,
    "retarget": RetargetState.FIXED,
    "gpadl": GpadlState.IN_PROGRESS,
}
END = {"channel": ChannelState.GONE, "gpadl": GpadlState.GONE}
each_table = pytest.mark.parametrize("name", TABLES)


def kinds(table: Table[Any, Any, Any]) -> tuple[type[Enum], type[Enum]]:
    state, event = next(iter(table))
    return type(state), type(event)


@each_table
def test_every_state_says_what_every_event_does(name: str) -> None:
    states, events = kinds(TABLES[name])
    assert set(TABLES[name]) == set(product(states, events))


@each_table
def test_a_fault_says_why_and_moves_nothing(name: str) -> None:
    for (state, _), transition in TABLES[name].items():
        assert bool(transition.why) == (transition.fault is not None)
        if transition.fault:
            assert transition.next is state


@each_table
def test_every_state_can_be_reached_and_every_action_happens(name: str) -> None:
    table = TABLES[name]
    reached, frontier = {START[name]}, [START[name]]
    while frontier:
        here = frontier.pop()
        for (state, _), transition in table.items():
            if state is here and transition.next not in reached:
                reached.add(transition.next)
                frontier.append(transition.next)
    assert reached == set(kinds(table)[0])
    actions: set[Enum] = {action for transition in table.values() for action in transition.actions}
    assert actions == set(type(next(iter(actions))))


@each_table
def test_nothing_leaves_the_end_and_everything_else_can_be_left(name: str) -> None:
    states, _ = kinds(TABLES[name])
    for state in states:
        leaves = any(transition.next is not here for (here, _), transition in TABLES[name].items() if here is state)
        assert leaves == (state is not END.get(name))


def test_actions_that_call_the_device_come_last() -> None:
    calls = {ChannelAction.OPEN_DEVICE, ChannelAction.CLOSE_DEVICE}
    for transition in TABLES["channel"].values():
        assert not calls.intersection(transition.actions[:-1])


def test_the_operator_is_to_blame_for_nothing_but_offers() -> None:
    blamed = {event.name for (_, event), cell in TABLES["channel"].items() if cell.fault is Fault.OPERATOR}
    assert blamed == {"REOFFER"}
