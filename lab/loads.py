"""Programs of the guest's user space that keep devices busy until they are stopped, and check what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from guest.block.disk import LIVE, DiskWords
from guest.net.device import REGISTERED, NetDeviceWords
from guest.programs.net_load import NetLoadCpuWords, NetLoadStreamWords, NetLoadWords
from guest.programs.program import ProgramWords
from guest.programs.storage_load import StorageLoadCpuWords, StorageLoadWords
from lab.api import Vm
from lab.failure import VmFailure
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode

PROGRAM: Final = "storage_load"
PATIENCE_SECONDS: Final = 60.0
"""Twice what a program itself gives a device that does not answer."""


class Load(Protocol):
    """One program on all CPUs. Between ``start`` and ``stop`` it is busy; after ``ended`` nothing is under way."""

    @property
    def name(self) -> str:
        """What it counts, as a heading."""

    async def start(self) -> None:
        """From now on the device is busy."""

    async def stop(self) -> None:
        """Begin nothing more."""

    async def ended(self) -> None:
        """Wait until everything is back. Raises ``VmFailure``: something was lost or damaged, or never comes."""

    @property
    def begun(self) -> bool:
        """Somebody has started it."""

    def done(self) -> int:
        """How much has come back since the first start."""


async def wait_for_end(vm: Vm, words: ProgramWords, what: str) -> None:
    """Wait for a program that was stopped. Raises ``VmFailure``, also for a channel that lost an interrupt."""
    deadline = vm.now() + PATIENCE_SECONDS
    while not words.finished:
        await vm.pass_time(LOOK_SECONDS / 10)
        vm.watchdog.check(vm.now())
        if vm.now() > deadline:
            raise VmFailure(ExitCode.STRANDED, f"{what} has not come to its end in {PATIENCE_SECONDS:.0f} s")
    if words.failed:
        raise VmFailure(ExitCode.DEVICE, f"{what}: {words.error}")


class StorageLoad:
    """Requests to every disk, reads verified and writes read back."""

    name = "disk requests"

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._words = vm.memory.find(StorageLoadWords)
        self._cpus = vm.memory.find(StorageLoadCpuWords)
        self._disks = [f"{disk.controller}/{disk.lun}" for disk in vm.memory.find(DiskWords) if disk.state == LIVE]
        self._before = 0
        self._runs = 0

    async def start(self) -> None:
        self._runs += 1
        self._before += self._ended_well()  # each start counts from 0
        await self._vm.start_program(PROGRAM, disks=self._disks, seed=self._vm.spec.seed + self._runs)

    async def stop(self) -> None:
        await self._vm.stop_program(PROGRAM)

    async def ended(self) -> None:
        await wait_for_end(self._vm, self._words[0], self.name)

    @property
    def begun(self) -> bool:
        return bool(self._words[0].run)

    def done(self) -> int:
        return self._before + self._ended_well()

    def _ended_well(self) -> int:
        return sum(cpu.reads + cpu.writes for cpu in self._cpus)


class NetworkLoad:
    """Frames on every queue of one NIC, which the host sends back."""

    def __init__(self, vm: Vm, index: int) -> None:
        self.name = f"eth{index} frames"
        self._vm = vm
        self._program = f"net_load@eth{index}"
        self._words = vm.memory.find(NetLoadWords, index)
        self._cpus = vm.memory.find(NetLoadCpuWords, index)
        self._streams = vm.memory.find(NetLoadStreamWords, index)
        self._before = 0
        self._runs = 0

    async def start(self, frames: int = 0) -> None:
        """With ``frames`` from each CPU it ends by itself."""
        self._runs += 1
        self._before += self._returned()  # each start counts from 0
        await self._vm.start_program(self._program, frames=frames, seed=self._vm.spec.seed + self._runs)

    @property
    def begun(self) -> bool:
        return bool(self._words[0].run)

    @property
    def finished(self) -> bool:
        """The last run has ended."""
        return bool(self._words[0].finished)

    async def stop(self) -> None:
        await self._vm.stop_program(self._program)

    async def ended(self) -> None:
        await wait_for_end(self._vm, self._words[0], self.name)
        lost = sum(stream.lost for stream in self._streams)
        wrong = sum(stream.bad for stream in self._streams) + sum(cpu.damaged for cpu in self._cpus)
        if lost or wrong:
            raise VmFailure(ExitCode.DEVICE, f"{self.name}: {lost} lost, {wrong} damaged or out of order")

    def done(self) -> int:
        return self._before + self._returned()

    def sent(self) -> int:
        """In the last run."""
        return sum(stream.sent for stream in self._streams)

    def _returned(self) -> int:
        return sum(stream.returned for stream in self._streams)


def begun_loads(vm: Vm) -> list[Load]:
    """Those that somebody has started, whether or not their devices are still there."""
    nics = range(len(vm.memory.find(NetDeviceWords)))
    every: list[Load] = [StorageLoad(vm), *(NetworkLoad(vm, index) for index in nics)]
    return [load for load in every if load.begun]


def loads_of(vm: Vm) -> list[Load]:
    """One for everything that can be kept busy. Called when the devices have been probed."""
    return list(_loads(vm))


def _loads(vm: Vm) -> Iterator[Load]:
    if any(disk.state == LIVE for disk in vm.memory.find(DiskWords)):
        yield StorageLoad(vm)
    for index, device in enumerate(vm.memory.find(NetDeviceWords)):
        if device.state == REGISTERED:
            yield NetworkLoad(vm, index)
