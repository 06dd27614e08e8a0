"""Taking a device of a running VM away and offering it again, as an operator of Hyper-V does."""

from __future__ import annotations

from collections.abc import Callable

from host.machine import Machine
from host.vsp.device import Device
from protocol.errors import OperatorError

DEVICES: dict[str, Callable[[Machine], Device]] = {
    "heartbeat": lambda machine: machine.heartbeat,
    "shutdown": lambda machine: machine.shutdown,
    "timesync": lambda machine: machine.timesync,
    "storvsc": lambda machine: machine.storage,
}
"""What can be taken away, by the name of its offer."""


def rescind(machine: Machine, name: str) -> None:
    """Take the device away; the guest hears of it. Raises OperatorError for a name that there is not."""
    _known(name)
    machine.offers[name].rescind()


def offer(machine: Machine, name: str) -> None:
    """Offer the device again, under a relid that is free. Raises OperatorError for a name that there is not."""
    machine.offer(name, _known(name)(machine))


def _known(name: str) -> Callable[[Machine], Device]:
    device = DEVICES.get(name)
    if device is None:
        raise OperatorError(f"no device is called '{name}': there are {', '.join(DEVICES)}")
    return device
