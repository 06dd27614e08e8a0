"""Channels are moved from outside while they are busy: nothing stalls, nothing is lost, and everybody agrees where."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from guest.irq.cpumask import format_list, format_mask
from guest.programs.checksum import ChecksumWords
from guest.programs.net_load import NetLoadCpuWords, NetLoadStreamWords, NetLoadWords
from host.machine import DeviceSpec
from lab.spec import DiskSpec, VmSpec
from lab.vm import VM
from lab.workload import finished, read_disk
from protocol.ids import Irq, Relid
from tests.integration.machine import make_image, nothing_left

CPUS = 8
LOOK_AFTER = 50
"""Writes after which every load must get on again."""
PATIENCE = 10.0
"""Seconds within which it must."""


class Load(Protocol):
    """What runs meanwhile."""

    async def run(self, vm: VM, stop: asyncio.Event) -> None:
        """Until ``stop``; nothing may be lost or wrong."""

    def progress(self, vm: VM) -> tuple[int, ...]:
        """Something that grows as long as the load gets on."""


class DiskLoad:
    """Read the whole disk again and again; everything read is compared."""

    def __init__(self, content: bytes) -> None:
        self._digest = hashlib.sha256(content).hexdigest()
        self._rounds = 0

    async def run(self, vm: VM, stop: asyncio.Event) -> None:
        while not stop.is_set():
            assert await read_disk(vm, lambda what, done, of: None) == self._digest
            self._rounds += 1

    def progress(self, vm: VM) -> tuple[int, ...]:
        return self._rounds, vm.memory.find(ChecksumWords)[0].done


class NetLoad:
    """Frames from every CPU on every queue, each of which must come back once, in its order, and intact."""

    async def run(self, vm: VM, stop: asyncio.Event) -> None:
        await vm.start_program("net_load@eth0")
        await stop.wait()
        await vm.stop_program("net_load@eth0")
        words = vm.memory.find(NetLoadWords)[0]
        await finished(vm, words, "the network load", lambda: 0, lambda what, done, of: None)
        streams = list(vm.memory.find(NetLoadStreamWords))
        assert sum(stream.returned for stream in streams) == sum(stream.sent for stream in streams) > 0
        assert not any(stream.lost or stream.bad or stream.interrupted for stream in streams)
        assert not any(cpu.damaged for cpu in vm.memory.find(NetLoadCpuWords))

    def progress(self, vm: VM) -> tuple[int, ...]:
        return (sum(stream.returned for stream in vm.memory.find(NetLoadStreamWords)),)


class Mover:
    """Random writes to all the files that move channels, by random CPUs of the guest; ``RETURNS`` is write(2)'s."""

    def __init__(self, vm: VM, seed: int) -> None:
        self._vm = vm
        self._random = random.Random(seed)
        self._device = {
            int(vm.files.read(f"/sys/bus/vmbus/devices/{name}/id")): f"/sys/bus/vmbus/devices/{name}"
            for name in vm.files.list("/sys/bus/vmbus/devices")
        }

    async def write(self) -> None:
        """One write, and what it returns is what it should."""
        relid, words = self._random.choice(list(self._vm.guest.opened()))
        moves: list[Callable[[Relid, int], tuple[str, str, int | None]]] = [self._cpu]
        if words.irq:
            moves += [self._smp_affinity, self._smp_affinity_list]
        path, text, returned = self._random.choice(moves)(relid, words.irq)
        result = await self._vm.files.write(path, text.encode(), cpu=self._random.randrange(CPUS))
        assert result == (len(text) if returned is None else returned), (path, text)

    def _cpu(self, relid: Relid, irq: int) -> tuple[str, str, int | None]:
        primary = self._vm.guest.vmbus.channels[relid].primary_relid or relid
        text = f"{self._random.randrange(CPUS)}\n"
        return f"{self._device[primary]}/channels/{relid}/cpu", text, 0 if irq else None

    def _smp_affinity(self, relid: Relid, irq: int) -> tuple[str, str, None]:
        return f"/proc/irq/{irq}/smp_affinity", format_mask(self._mask(), CPUS), None

    def _smp_affinity_list(self, relid: Relid, irq: int) -> tuple[str, str, None]:
        return f"/proc/irq/{irq}/smp_affinity_list", format_list(self._mask()) + "\n", None

    def _mask(self) -> int:
        return self._random.choice((1 << self._random.randrange(CPUS), self._random.randrange(1, 1 << CPUS)))


async def advanced(vm: VM, load: Load, since: tuple[int, ...]) -> None:
    """Return when the load has got on since then."""
    while load.progress(vm) == since:
        await vm.pass_time(0.005)


async def move_under(vm: VM, loads: Sequence[Load], writes: int, writers: int) -> None:
    """So many moves while the loads run; none of them may stand still."""
    stop = asyncio.Event()

    async def write(seed: int) -> None:
        mover = Mover(vm, seed)
        for number in range(writes // writers):
            await mover.write()
            if number % LOOK_AFTER == 0:
                async with asyncio.timeout(PATIENCE):
                    for load in loads:
                        await advanced(vm, load, load.progress(vm))

    async def write_all() -> None:
        await asyncio.gather(*(write(seed) for seed in range(writers)))
        stop.set()

    async with asyncio.TaskGroup() as tasks:
        for load in loads:
            tasks.create_task(load.run(vm, stop))
        tasks.create_task(write_all())


async def agree(vm: VM) -> dict[int, int]:
    """At a cut: each open channel's CPU, on which the host, the IRQ core and sysfs agree."""
    assert not (await vm.report()).failed
    host = await vm.host("snapshot")
    targets = {each["relid"]: each["target_vp"] for each in host["channels"].values()}
    cpus: dict[int, int] = {}
    for name in vm.files.list("/sys/bus/vmbus/devices"):
        device = f"/sys/bus/vmbus/devices/{name}"
        mapping = vm.files.read(f"{device}/channel_vp_mapping").decode().split()
        for relid, cpu in (map(int, line.split(":")) for line in mapping):
            words = vm.guest.vmbus.channels[relid]
            if vm.files.read(f"{device}/state") != b"3\n":
                continue
            cpus[relid] = cpu
            assert vm.files.read(f"{device}/channels/{relid}/cpu") == b"%d\n" % cpu
            assert targets[relid] == cpu, f"channel {relid}: the host interrupts {targets[relid]}, the guest says {cpu}"
            if words.irq:
                assert vm.files.read(f"/proc/irq/{words.irq}/effective_affinity_list") == b"%d\n" % cpu
    return cpus


@pytest.mark.parametrize(("policy", "writes", "writers"), [("rfc", 1000, 4), ("legacy", 100, 1)])
async def test_many_moves_from_outside_stall_nothing_and_all_agree_in_the_end(
    policy: str, writes: int, writers: int, tmp_path: Path
) -> None:
    """Before the RFC one process writes at a time, and waits for the host: two for the same channel could confuse each
    other there.
    """
    content = make_image(tmp_path / "disk.img", 2 << 20)
    disks = [DiskSpec(str(tmp_path / "disk.img"))]
    spec = VmSpec(f"moves-{policy}", vcpus=CPUS, policy=policy, disks=disks, memory_mb=128, time_scale=100)
    spec.devices.append(DeviceSpec("netvsc", "netvsc", 13, {"queues": 4}))
    async with VM(spec) as vm:
        await vm.settled()
        await move_under(vm, [DiskLoad(content), NetLoad()], writes, writers)
        cpus = await agree(vm)
        assert len(cpus) == 4 + 4 and len(set(cpus.values())) > 1
        if policy == "rfc":
            irqs = (vm.guest.vmbus.channels[relid].irq for relid in cpus if relid in (13, 14))
            assert all(all(vm.guest.irq_counts(Irq(irq))) for irq in irqs), "they were taken on every CPU"
    nothing_left()
