"""Programs of the guest's user space that keep devices busy until they are stopped, and check what comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final

from guest.block.disk import LIVE, DiskWords
from guest.net.device import REGISTERED, NetDeviceWords
from guest.programs.net_load import NetLoadCpuWords, NetLoadStreamWords, NetLoadWords
from guest.programs.program import ProgramWords
from guest.programs.storage_load import StorageLoadCpuWords, StorageLoadWords
from lab.api import Vm
from lab.failure import VmFailure
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode

PATIENCE_SECONDS: Final = 60.0
"""Twice what a program itself gives a device that does not answer."""


class Load(ABC):
    """One program on all CPUs. Between ``start`` and ``stop`` it is busy; after ``ended`` nothing is under way.

    ``name`` is what it counts, as a heading.
    """

    def __init__(self, vm: Vm, name: str, program: str, words: ProgramWords) -> None:
        self.name = name
        self._vm = vm
        self._program = program
        self._words = words
        self._before = 0
        self._runs = 0

    @abstractmethod
    async def start(self) -> None:
        """From now on the device is busy."""

    @abstractmethod
    def _back(self) -> int:
        """How much has come back in this run."""

    async def _start(self, **arguments: Any) -> None:
        self._runs += 1
        self._before += self._back()  # each start counts from 0
        await self._vm.start_program(self._program, seed=self._vm.spec.seed + self._runs, **arguments)

    async def stop(self) -> None:
        """Begin nothing more."""
        await self._vm.stop_program(self._program)

    async def ended(self) -> None:
        """Wait until everything is back. Raises ``VmFailure``: something was lost or damaged, or never comes.

        One that was refused has ended too: whoever started it was told, or repeated it where the orders had parted.
        """
        deadline = self._vm.now() + PATIENCE_SECONDS
        while not self.finished:
            await self._vm.pass_time(LOOK_SECONDS / 10)
            self._vm.watchdog.check(self._vm.now())
            if self._vm.now() > deadline:
                raise VmFailure(ExitCode.STRANDED, f"{self.name} has not come to its end in {PATIENCE_SECONDS:.0f} s")
        if self._words.failed and not self._words.refused:
            raise VmFailure(ExitCode.DEVICE, f"{self.name}: {self._words.error}")

    @property
    def begun(self) -> bool:
        """Somebody has started it."""
        return bool(self._words.run)

    @property
    def finished(self) -> bool:
        """The last run has ended."""
        return bool(self._words.finished)

    def done(self) -> int:
        """How much has come back since the first start."""
        return self._before + self._back()


class StorageLoad(Load):
    """Requests to every disk, reads verified and writes read back."""

    def __init__(self, vm: Vm) -> None:
        super().__init__(vm, "disk requests", "storage_load", vm.memory.find(StorageLoadWords)[0])
        self._cpus = vm.memory.find(StorageLoadCpuWords)
        self._disks = [f"{disk.controller}/{disk.lun}" for disk in vm.memory.find(DiskWords) if disk.state == LIVE]

    async def start(self) -> None:
        await self._start(disks=self._disks)

    def _back(self) -> int:
        return sum(cpu.reads + cpu.writes for cpu in self._cpus)


class NetworkLoad(Load):
    """Frames on every queue of one NIC, which the host sends back."""

    def __init__(self, vm: Vm, index: int) -> None:
        super().__init__(vm, f"eth{index} frames", f"net_load@eth{index}", vm.memory.find(NetLoadWords, index)[0])
        self._cpus = vm.memory.find(NetLoadCpuWords, index)
        self._streams = vm.memory.find(NetLoadStreamWords, index)

    async def start(self, frames: int = 0) -> None:
        """With ``frames`` from each CPU it ends by itself."""
        await self._start(frames=frames)

    async def ended(self) -> None:
        await super().ended()
        lost = sum(stream.lost for stream in self._streams)
        wrong = sum(stream.bad for stream in self._streams) + sum(cpu.damaged for cpu in self._cpus)
        if lost or wrong:
            raise VmFailure(ExitCode.DEVICE, f"{self.name}: {lost} lost, {wrong} damaged or out of order")

    def sent(self) -> int:
        """In the last run."""
        return sum(stream.sent for stream in self._streams)

    def _back(self) -> int:
        return sum(stream.returned for stream in self._streams)


def begun_loads(vm: Vm) -> list[Load]:
    """Those that somebody has started, whether or not their devices are still there."""
    nics = range(len(vm.memory.find(NetDeviceWords)))
    every: list[Load] = [StorageLoad(vm), *(NetworkLoad(vm, index) for index in nics)]
    return [load for load in every if load.begun]


def loads_of(vm: Vm) -> list[Load]:
    """One for everything that can be kept busy. Called when the devices have been probed.

    Frames to a NIC without an echo would never come back, so it is left in peace.
    """
    return list(_loads(vm))


def _loads(vm: Vm) -> Iterator[Load]:
    if any(disk.state == LIVE for disk in vm.memory.find(DiskWords)):
        yield StorageLoad(vm)
    silent = {device.name for device in vm.spec.devices if device.options.get("echo") == "off"}
    for index, device in enumerate(vm.memory.find(NetDeviceWords)):
        if device.state == REGISTERED and device.alias not in silent:
            yield NetworkLoad(vm, index)
