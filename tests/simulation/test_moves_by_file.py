"""Channels are moved through their files while the host takes its time, under many schedules and both designs."""

from __future__ import annotations

import random
from collections.abc import Callable

from lab.image import disk_for
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.workload import read_disk
from protocol.ids import Relid

IMAGE_BYTES = 64 << 10
SEEDS = 6
WRITES = 12
CPUS = 4
DISK, HEARTBEAT = Relid(14), Relid(7)
SLOW: dict[str, object] = {"delay": {"modify": 0.0003}}
PATIENT: dict[str, object] = {**SLOW, "queue_overlapping_modify": True}


class BusyVM(SimulatedVM):
    """A disk to read and a heartbeat that never rests; ``strays``: interrupts taken where the channel had been."""

    def __init__(self, spec: VmSpec) -> None:
        super().__init__(spec)
        self.strays = 0
        self._writing: set[int] = set()

    async def read(self) -> None:
        """Read the disk as often as it takes until every writer has ended."""
        while self._writing:
            await read_disk(self, lambda what, done, of: None)

    def write_from(self, cpu: int, channels: tuple[Relid, ...]) -> None:
        """A process on ``cpu`` moves these channels to and fro."""
        self._writing.add(cpu)
        self.cpus[cpu].enter(lambda: self.cpus[cpu].spawn(self._write_at(self.cpus[cpu], channels), "echo"))

    async def _write_at(self, cpu: SimulatedCpu, channels: tuple[Relid, ...]) -> None:
        choose = random.Random(self.spec.seed * CPUS + cpu.core.cpu)
        for _ in range(WRITES):
            words = self.guest.vmbus.channels[choose.choice(channels)]
            old, target = words.target_cpu, choose.randrange(CPUS)
            before = self.guest.irq_counts(words.irq)[old] if words.irq else 0  # type: ignore[arg-type]
            text = f"{target}\n"
            if words.irq and choose.randrange(2):
                path = f"/proc/irq/{words.irq}/smp_affinity_list"
                assert await cpu.guest.write(path, text.encode()) == 2
            else:
                channel = next(c for c in cpu.guest.system.bus.channels if c.words.base == words.base)
                path = f"/sys/bus/vmbus/devices/{channel.device.name}/channels/{channel.relid}/cpu"
                assert await cpu.guest.write(path, text.encode()) == (0 if words.irq else 2)
            await cpu.core.sleep(choose.choice((0, 100e-6, 500e-6)))
            if words.irq and old != target:
                self.strays += self.guest.irq_counts(words.irq)[old] - before  # type: ignore[arg-type]
        self._writing.remove(cpu.core.cpu)

    async def disagreements(self) -> list[str]:
        """At a cut: channels of which the host and the files of the guest do not say the same."""
        await self.report()
        host = {each["relid"]: each["target_vp"] for each in self.host.snapshot()["channels"].values()}
        found = []
        for relid, words in self.guest.opened():
            said = {host[relid], words.target_cpu}
            if words.irq:
                said.add(int(self.files.read(f"/proc/irq/{words.irq}/effective_affinity_list")))
            if len(said) > 1:
                found.append(f"channel {relid}: {said}")
        return found


async def moved(
    seed: int, policy: str, host_options: dict[str, object], write: Callable[[BusyVM], None]
) -> tuple[list[str], int]:
    """Who disagrees in the end, and how many interrupts came to a CPU that a channel had left."""
    spec = VmSpec(vcpus=CPUS, seed=seed, policy=policy, time_scale=2e4, host_options=host_options, memory_mb=16)
    with disk_for(spec, IMAGE_BYTES) as spec:
        async with BusyVM(spec) as vm:
            await vm.settled()
            write(vm)
            await vm.read()
            await vm.pass_time(0.1)
            vm.watchdog.check(vm.now())
            return await vm.disagreements(), vm.strays


def from_several_cpus(vm: BusyVM) -> None:
    for cpu in (0, 1, 3):
        vm.write_from(cpu, (DISK, HEARTBEAT))


def one_writer_a_channel(vm: BusyVM) -> None:
    vm.write_from(1, (DISK,))
    vm.write_from(2, (HEARTBEAT,))


async def test_with_the_rfc_all_agree_if_the_host_works_through_what_it_is_sent() -> None:
    """The writer does not wait: interrupts still come to the old CPU, and are taken and counted there."""
    ends = [await moved(seed, "rfc", PATIENT, from_several_cpus) for seed in range(SEEDS)]
    assert all(not disagree for disagree, _ in ends), ends
    assert sum(strays for _, strays in ends) > 0


async def test_before_the_rfc_all_agree_because_each_writer_waits_for_the_host() -> None:
    for seed in range(SEEDS):
        assert await moved(seed, "legacy", SLOW, one_writer_a_channel) == ([], 0)


async def test_with_the_rfc_a_host_that_ignores_a_move_during_a_move_is_left_behind() -> None:
    """OpenVMM calls an overlapping MODIFYCHANNEL a breach of the protocol and ignores it; patch 10 does not wait."""
    assert any([(await moved(seed, "rfc", SLOW, from_several_cpus))[0] for seed in range(SEEDS)])
