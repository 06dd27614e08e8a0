"""Devices that come and go while a VM runs, as its operator wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from host.plain import parse
from lab.failure import VmFailure
from lab.vm_file import Heading
from protocol.errors import ExitCode, OperatorError

LOOK_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 30.0
"""For the guest to let go of a device or to open it: longer than the time-outs of all drivers."""


class Operated(Protocol):
    """A VM whose host can be asked."""

    async def operate(self, verb: str, /, **arguments: Any) -> Any:
        """Do what an operator of the host can do, see ``host.operator``. Raises OperatorError if it cannot be."""

    def now(self) -> float:
        """Seconds, from some point on."""

    async def pass_time(self, seconds: float) -> None:
        """Let the VM run."""


async def add(vm: Operated, kind: str, device: str, relid: int | None, options: dict[str, Any]) -> int:
    """Offer a new device; the relid by which the guest knows it. It need not have a driver for it."""
    parse(Heading, {"kind": kind, "name": device, "relid": relid}, f"device '{device}'")
    await vm.operate("add", kind=kind, name=device, relid=relid, options=options)
    return await _introduced(vm, device)


async def offer_again(vm: Operated, device: str) -> int:
    """Offer a device that was removed; its new relid."""
    await vm.operate("offer", name=device)
    return await _introduced(vm, device)


async def remove(vm: Operated, device: str) -> int:
    """Rescind a device; returns when the guest has released its relid, with that relid."""
    relid: int | None = (await channel_of(vm, device))["relid"]
    if relid is None:
        raise OperatorError(
            f"'{device}' is not in the VM: it was removed, and './launch.sh add {device}' brings it back"
        )
    await vm.operate("rescind", name=device)
    await _until(vm, device, lambda channel: channel["relid"] is None, "let go of")
    return relid


async def opened(vm: Operated, device: str) -> None:
    """Wait until a driver of the guest has the device."""
    await _until(vm, device, lambda channel: bool(channel["state"] == "OPEN"), "opened")


async def channel_of(vm: Operated, device: str) -> dict[str, Any]:
    """What the host says of the device's primary channel. Raises OperatorError for a name that there is not."""
    channel: dict[str, Any] = await vm.operate("channel", name=device)
    return channel


async def _introduced(vm: Operated, device: str) -> int:
    channel = await _until(vm, device, lambda channel: channel["relid"] is not None, "taken notice of")
    relid: int = channel["relid"]
    return relid


async def _until(vm: Operated, device: str, done: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    deadline = vm.now() + PATIENCE_SECONDS
    while not done(channel := await channel_of(vm, device)):
        if vm.now() > deadline:
            raise VmFailure(
                ExitCode.CHECK_FAILED,
                f"the guest has not {what} '{device}' in {PATIENCE_SECONDS:.0f} s: it is {channel['state']}",
            )
        await vm.pass_time(LOOK_SECONDS)
    return channel
