"""Whole VMs under many schedules: every byte right, every equation, nobody stranded, every preemption point reached."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from guest.irq.affinity import irq_set_affinity
from lab.image import disk_for
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.workload import PatternRange, read_disk, write_pattern
from protocol.ids import Irq
from tests.simulation.moving import MovingVM

IMAGE_BYTES = 128 << 10
SEEDS = 14
SEARCHED = 200
"""Seeds among which one must come to what is rare."""
MOVES = 20
ROOT = Path(__file__).parents[2]


async def move_every_channel(cpu: SimulatedCpu) -> None:
    """Walk the IRQ of each open channel round the CPUs, beginning with this one."""
    system = cpu.guest.system
    for step in range(MOVES):
        for channel in list(system.bus.channels):
            if channel.words.irq_requested:
                irq_set_affinity(system.irq, Irq(channel.words.irq), 1 << (cpu.core.cpu + step) % cpu.core.cpus)
        await cpu.core.sleep(20e-6)


async def whole_vm(seed: int, policy: str) -> Counter[str]:
    """2 to 8 CPUs read and write the disk while every channel is moved by several of them. The points passed."""
    spec = VmSpec(vcpus=2 + seed % 7, seed=seed, policy=policy, time_scale=1000)
    with disk_for(spec, IMAGE_BYTES) as spec:
        async with SimulatedVM(spec) as vm:
            await vm.settled()
            if policy == "rfc":
                for cpu in vm.cpus[:3]:
                    cpu.enter(lambda cpu=cpu: cpu.spawn(move_every_channel(cpu), "mover"))  # type: ignore[misc]
            await read_disk(vm, lambda what, done, of: None)
            await write_pattern(vm, PatternRange.of(IMAGE_BYTES), lambda what, done, of: None)
            report = await vm.report()
            assert not report.failed, "\n".join(map(str, report.failed))
            return vm.hub.points


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_the_disk_is_read_and_written_right_and_every_invariant_holds(policy: str) -> None:
    for seed in range(SEEDS):
        await whole_vm(seed, policy)


NOT_REACHED = {
    "irq.resend.due": "an interrupt before the IRQ is requested: the host signals only open channels",
    "ring.write.wanting": "a full ring",
    "ring.read.wish_seen": "a full ring",
}


async def rescind_while_used(seed: int) -> Counter[str]:
    """The heartbeat is taken back while it beats as fast as it can on a CPU that is not the connect CPU."""
    async with MovingVM(seed) as vm:
        await vm.settled()
        await vm.move_to_and_fro(2)
        vm.on_host(vm.host.offers["heartbeat"].rescind)
        vm.until(lambda: vm.host.offers["heartbeat"].relid is None, "the relid released")
        return vm.hub.points


async def offline_and_online() -> Counter[str]:
    """A CPU goes and comes back."""
    async with MovingVM(0) as vm:
        await vm.settled()
        for text in b"0", b"1":
            await vm.files.write("/sys/devices/system/cpu/cpu1/online", text)
        return vm.hub.points


async def test_every_preemption_point_of_the_code_is_reached() -> None:
    """A point that no schedule comes to tests nothing, and its name in a recorded decision would be a mistake."""
    written = {
        name
        for side in ("protocol", "host", "guest")
        for file in (ROOT / side).rglob("*.py")
        for name in re.findall(r'\b_?(?:point|p)\("([a-z_.]+)"\)', file.read_text())
        if name != "name"
    }
    reached = await whole_vm(0, "rfc") + await offline_and_online()
    for seed in range(SEARCHED):
        if reached.keys() | NOT_REACHED.keys() >= written:
            break
        reached += await rescind_while_used(seed)
    assert len(written) > 15
    assert written - reached.keys() == NOT_REACHED.keys()
