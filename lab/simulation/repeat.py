"""What somebody outside did to a VM of processes, done again to a simulated one, as the journal has it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from host.faults import break_host
from host.operator import operate
from protocol.errors import OperatorError
from protocol.journal import Record

if TYPE_CHECKING:
    from lab.simulation.cpu import SimulatedCpu
    from lab.simulation.vm import SimulatedVM


def repeat(vm: SimulatedVM, record: Record) -> None:
    """Have the participant do it in its next turn. What it refuses now it may well have refused then."""
    if record.who == "host":
        vm.on_host(partial(_tolerate, _on_host(vm, record)))
    else:
        cpu = vm.cpus[int(record.who.removeprefix("cpu"))]
        cpu.enter(partial(_tolerate, _on_cpu(cpu, record)))


def _tolerate(action: Callable[[], None]) -> None:
    with suppress(OperatorError):
        action()


def _on_host(vm: SimulatedVM, record: Record) -> Callable[[], None]:
    what, arguments = record.fields
    if record.event == "inject":
        return lambda: break_host(vm.host, what, **arguments)
    return lambda: operate(vm.host, what, _ignore, **arguments)


def _on_cpu(cpu: SimulatedCpu, record: Record) -> Callable[[], None]:
    guest = cpu.guest
    match record.event, record.fields:
        case "write", (path, text):
            return lambda: cpu.spawn(_write(cpu, path, text), f"a write to {path}")
        case "settle", _:
            return lambda: cpu.spawn(guest.settled(), "probing the devices")
        case "program", (name, arguments):
            return lambda: guest.start_program(name, **arguments)
        case "stop", (name,):
            return lambda: guest.stop_program(name)
        case _, (fault, arguments):
            return lambda: guest.inject(fault, **arguments)
    raise AssertionError(f"{record.event} is no action")


async def _write(cpu: SimulatedCpu, path: str, text: str) -> None:
    with suppress(OperatorError):
        await cpu.guest.write(path, text.encode("latin-1"))


def _ignore(answer: Any) -> None:
    pass
