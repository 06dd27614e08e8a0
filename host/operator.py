"""What an operator asks of a running host, by name: what Hyper-V's management tools can do, and turning its knobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from host.machine import DeviceSpec, Machine
from host.plain import parse, plain
from host.vmbus.options import HostOptions
from host.vsp.kind import Answered


def act(machine: Machine, answered: Answered, /, name: str, action: str, **arguments: Any) -> None:
    """Have a device do something of its own, such as asking the guest to power off; its result."""
    machine.act(name, action, answered, **arguments)


def add(machine: Machine, answered: Answered, kind: str, name: str, relid: int | None, options: dict[str, Any]) -> None:
    """Make a new device and offer it."""
    machine.add(DeviceSpec(kind, name, relid, options))
    answered(None)


def rescind(machine: Machine, answered: Answered, name: str) -> None:
    """Take a device away from the guest."""
    machine.rescind(name)
    answered(None)


def offer(machine: Machine, answered: Answered, name: str) -> None:
    """Offer a device again that was rescinded."""
    machine.offer(name)
    answered(None)


def options(machine: Machine, answered: Answered, /, **changes: Any) -> None:
    """Change behaviours of the VMBus server from now on, in the words of a VM file."""
    machine.server.options = parse(HostOptions, {**plain(machine.server.options), **changes}, "host")
    answered(None)


def release(machine: Machine, answered: Answered) -> None:
    """Have everything that a delay holds back happen now; how many steps there were."""
    answered(machine.server.release())


def channel(machine: Machine, answered: Answered, name: str) -> None:
    """How the primary channel of a device is."""
    answered(machine.channel(name))


VERBS: Final[dict[str, Callable[..., None]]] = {
    verb.__name__: verb for verb in (act, add, rescind, offer, options, release, channel)
}
QUESTIONS: Final = frozenset({"channel"})
"""They change nothing, so the journal need not have them."""


def operate(machine: Machine, verb: str, answered: Answered, /, **arguments: Any) -> None:
    """Carry out a verb; ``answered`` gets its result, once. Raises OperatorError if it cannot be."""
    if verb not in QUESTIONS:
        machine.note("operator", verb, arguments)
    VERBS[verb](machine, answered, **arguments)
