"""What every VM of the lab can do, be it of processes or simulated: the API under commands, tests and other tools."""

from __future__ import annotations

from typing import Any, Protocol, Self

from guest.kernel.memory import KernelMemory
from lab.files import Files
from lab.guest_view import GuestView
from lab.report import Report
from lab.spec import VmSpec
from lab.watchdog import Watchdog


class Vm(Protocol):
    """``async with VM(spec) as vm:`` starts it and leaves nothing behind. What ends the VM raises ``VmFailure``."""

    spec: VmSpec
    memory: KernelMemory
    guest: GuestView
    files: Files
    watchdog: Watchdog

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...

    async def settled(self) -> None:
        """Wait until every offered device has been probed."""

    async def start_program(self, name: str, **arguments: Any) -> None:
        """Start a program of the guest's user space on every CPU. Raises OperatorError if it refuses."""

    async def stop_program(self, name: str) -> None:
        """Have a program end; its words say when it has."""

    async def pass_time(self, seconds: float) -> None:
        """Let the VM run."""

    def now(self) -> float:
        """Seconds of the VM's own time, from some point on."""

    async def operate(self, verb: str, /, **arguments: Any) -> Any:
        """Do what an operator of the host can do, see ``host.operator``. Raises OperatorError if it cannot be."""

    async def inject(self, where: str, fault: str, **arguments: Any) -> None:
        """Break something on purpose: ``where`` is ``host`` or ``cpu<n>``."""

    async def report(self) -> Report:
        """Stop the sources, fence every VP, and set up the equations at a cut that nothing crosses."""
