"""What 64 vCPUs and 1,000 channels cost, beside the eight and 21 of the cover letter: whole VMs, started in turns.

Start-up is the time by the clock since the supervisor was started. Memory is what the kernel says of the processes. The
large VM has the devices of the small one and more disk controllers, so in both the same timers of the host interrupt
CPU 0, at the same rates; its processor time is divided by the interrupts that it counts. All is in it that an interrupt
costs a process: to be woken, the envelope, handler, driver, and the answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

from bench.figures import Figure, ratios
from bench.rounds import Progress
from host.machine import DeviceSpec
from lab import vm_file
from lab.spec import VmSpec
from lab.vm import VM

ROUNDS: Final = 3
"""At most: each starts two whole VMs."""
TIME_SCALE: Final = 1000.0
"""A heartbeat each 2 ms, and what else the host does at times as often."""
INTERRUPT_SECONDS: Final = 2.0
CONTROLLERS: Final = 16
SUB_CHANNELS: Final = 61
LOOK: Final = 0.01
"""Seconds; a start is timed to within it."""


@dataclass(frozen=True, slots=True)
class Size:
    """A VM, and how many channels it has when its drivers have opened all of theirs."""

    spec: VmSpec
    channels: int

    @property
    def name(self) -> str:
        return f"{self.spec.vcpus} vCPUs, {self.channels:,} channels"


def small() -> Size:
    """The VM of the cover letter."""
    return Size(replace(vm_file.load("letter"), name=f"bench-{os.getpid()}", time_scale=TIME_SCALE), 21)


def large(vcpus: int = 64, controllers: int = CONTROLLERS, sub_channels: int = SUB_CHANNELS) -> Size:
    """The same with more CPUs, and controllers with as many sub-channels as a guest of that size asks for."""
    letter = small()
    extra = [
        DeviceSpec("storvsc", f"extra{number}", options={"sub_channels": sub_channels}) for number in range(controllers)
    ]
    channels = letter.channels + controllers * (1 + sub_channels)
    spec = replace(letter.spec, vcpus=vcpus, memory_mb=128 + channels // 2, devices=[*letter.spec.devices, *extra])
    return Size(spec, channels)


@dataclass(frozen=True, slots=True)
class ScaleRounds:
    """One entry for each round. Seconds until the processes are ``ready`` and until all channels are open (``probed``);
    MB that a worker has for itself, and its share of kernel memory and guest RAM; us of CPU 0 for an ``interrupt``.
    """

    ready: list[float] = field(default_factory=list)
    probed: list[float] = field(default_factory=list)
    private: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    interrupt: list[float] = field(default_factory=list)


def figures(rounds: int, progress: Progress) -> list[Figure]:
    """What a large VM costs beside a small one. The processes to start are eight times as many, the channels 48."""
    letter, big = small(), large()
    few, many = measure(min(rounds, ROUNDS), [letter, big], progress)
    each = f"{big.name} / {letter.name}"
    return [
        Figure(f"start-up until processes are ready, {letter.name}", few.ready, unit="s"),
        Figure(f"start-up until channels are open, {letter.name}", few.probed, unit="s"),
        Figure(f"private memory of a worker, {letter.name}", few.private, unit="MB"),
        Figure("its share of guest RAM and kernel memory in use", few.share, unit="MB"),
        Figure(f"an interrupt, {letter.name}", few.interrupt, unit="us"),
        Figure(f"ready, {each}", ratios(many.ready, few.ready), 9.0, 4.0),
        Figure(f"channels open, {each}", ratios(many.probed, few.probed), 40.0, 12.0),
        Figure(f"private memory, {each}", ratios(many.private, few.private), 1.6, 1.3),
        Figure(f"share, {each}", ratios(many.share, few.share)),
        Figure(f"interrupt, {each}", ratios(many.interrupt, few.interrupt), 1.5, 1.15),
    ]


def measure(rounds: int, sizes: list[Size], progress: Progress) -> list[ScaleRounds]:
    """Each VM once in each round, in turns in going first."""
    results = [ScaleRounds() for _ in sizes]
    for number in range(rounds):
        for place in range(len(sizes))[:: -1 if number % 2 else 1]:
            progress(sizes[place].name, number, rounds)
            asyncio.run(_once(sizes[place], results[place]))
    return results


async def _once(size: Size, result: ScaleRounds) -> None:
    start = time.monotonic()
    async with VM(size.spec) as vm:
        result.ready.append(time.monotonic() - start)
        while sum(1 for _ in vm.guest.opened()) < size.channels:
            await vm.pass_time(LOOK)
            vm.watchdog.check(vm.now())
        result.probed.append(time.monotonic() - start)
        workers = [pid for name, pid in vm.info.pids.items() if name.startswith("cpu")]
        result.private.append(median(map(_private_mb, workers)))
        shared = sum(_resident_mb(vm.info.memory_path(fd)) for fd in (vm.info.ram_fd, vm.info.kernel_fd))
        result.share.append(shared / len(workers))
        result.interrupt.append(await _interrupt(vm, vm.info.pids["cpu0"]))


async def _interrupt(vm: VM, pid: int) -> float:
    counts = vm.guest.vmbus.cpus[0]
    nanoseconds, interrupts = _processor_ns(pid), counts.interrupts
    await vm.pass_time(INTERRUPT_SECONDS)
    return (_processor_ns(pid) - nanoseconds) / (counts.interrupts - interrupts) / 1000


def _processor_ns(pid: int) -> int:
    """Of all its threads."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _private_mb(pid: int) -> float:
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(words[1]) for words in lines if words[0].startswith("Private_")) / 1024


def _resident_mb(memory: str) -> float:
    """Of a memfd: the pages that anybody has touched."""
    return os.stat(memory).st_blocks * 512 / 2**20
