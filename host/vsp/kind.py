"""A kind of device: what may be said of one in the description of a VM, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Generic, TypeVar, get_type_hints
from uuid import UUID

from pydantic import dataclasses

from host.plain import STRICT, parse
from host.vsp.device import Device, Services, SubChannels
from host.vsp.storage.backend import BlockBackend
from protocol.errors import OperatorError, PeerError

O = TypeVar("O")  # noqa: E741
D = TypeVar("D", bound=Device)


@dataclass(frozen=True, slots=True)
class Disk:
    """An image file, which the shell opens."""

    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device is given when it is made. ``name`` is the operator's; ``time_scale`` divides its periods."""

    name: str
    instance_id: UUID
    services: Services
    sub_channels: SubChannels
    open_disk: Callable[[Disk], BlockBackend]
    complain: Callable[[PeerError | OperatorError], None]
    withdraw: Callable[[], None]
    """Take the device away from the guest: it cannot go on."""
    vcpus: int
    time_scale: float


Answered = Callable[[Any], None]
"""Receives the result of an action, as plain data, once."""


def perform(act: Callable[..., Any], /, *given: Any, **arguments: Any) -> Any:
    """Call it with what the operator has given by name. Raises OperatorError if it takes something else."""
    try:
        signature(act).bind(*given, **arguments)
    except TypeError as error:
        raise OperatorError(f"{act.__name__}: {error}") from None
    types = get_type_hints(act)
    typed = {
        name: parse(types.get(name, Any), value, f"{act.__name__}: {name}")  # at_once's take anything
        for name, value in arguments.items()
    }
    return act(*given, **typed)


def at_once(act: Callable[..., Any]) -> Callable[..., None]:
    """An action that is over when it returns."""

    def action(device: Any, answered: Answered, /, **arguments: Any) -> None:
        answered(perform(act, device, **arguments))

    return action


@dataclass(frozen=True, slots=True)
class Kind(Generic[O, D]):
    """``options`` is a strict dataclass, each field with a default. ``actions`` are what an operator can have one do:
    each takes the device, what to call with the result, and its own arguments, and may raise OperatorError.
    """

    options: type[O]
    make: Callable[[Setting, O], D]
    actions: Mapping[str, Callable[..., None]] = field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class NoOptions:
    """There is nothing to choose."""
