"""One fault in one simulated VM: what its report says."""

from __future__ import annotations

from functools import partial

from guest.irq.affinity import irq_set_affinity
from guest.vmbus.policy import Policy
from host.machine import DeviceSpec
from lab.faults.cases import HEARTBEAT, Case
from lab.image import disk_for
from lab.report import Report
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.workload import ImageDigests, PatternRange, read_check, read_disk
from protocol.ids import Irq

IMAGE_BYTES = 32 << 10
BUSY = 20.0
"""How much faster than usual heartbeats and time samples come."""
DEVICES = (DeviceSpec("keyboard", "keyboard", options={"every": 1.0}), DeviceSpec("netvsc", "nic"))
"""What the VM has for the faults beside the devices of a small one. The keyboard presses its own keys."""
FRAMES = 4
"""That each CPU sends on it, at a time."""
SECONDS = 0.3
"""Virtual time for them."""


def _silent(what: str, done: int, of: int) -> None:
    pass


async def trial(policy: Policy, case: Case | None, seed: int) -> Report:
    """Probe, read the disk, move an IRQ, hear heartbeats, break something, do it all again, and judge."""
    spec = VmSpec(vcpus=3, seed=seed, policy=policy.value, memory_mb=16, time_scale=BUSY)
    spec.devices += DEVICES
    with disk_for(spec, IMAGE_BYTES) as spec:
        async with SimulatedVM(spec) as vm:
            await vm.settled()
            await _work(vm, cpu=1)
            if case is not None and not case.ends_work:
                await vm.inject(case.where, case.fault, **case.arguments)
            digest = await _work(vm, cpu=0)
            if case is not None and case.ends_work:
                await vm.inject(case.where, case.fault, **case.arguments)
            report = await vm.report()
            path = spec.disks[0].path
            report.checks.append(read_check(digest, await ImageDigests.of(path, PatternRange.of(IMAGE_BYTES))))
            return report


async def _work(vm: SimulatedVM, cpu: int) -> str:
    if Policy(vm.spec.policy).channel_irqs:
        irq = Irq(vm.guest.vmbus.channels[HEARTBEAT].irq)
        connect_cpu = vm.cpus[0]
        connect_cpu.enter(partial(irq_set_affinity, connect_cpu.guest.system.irq, irq, 1 << cpu))
    digest = await read_disk(vm, _silent)
    await vm.start_program("net_load@eth0", frames=FRAMES)
    await vm.pass_time(SECONDS)
    return digest
