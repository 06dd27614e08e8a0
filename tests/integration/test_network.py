"""A NIC in a VM of real processes: frames from every CPU on every queue, and the host takes the NIC away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guest.net.device import NetDeviceWords
from guest.programs.net_load import NetLoadCpuWords, NetLoadStreamWords, NetLoadWords
from host.machine import DeviceSpec
from lab.spec import VmSpec
from lab.vm import VM
from tests.integration.machine import DEADLINE, nothing_left

CPUS = 4
LOOK = 0.02


async def until(vm: VM, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await vm.pass_time(LOOK)


async def test_every_frame_comes_back_once_though_the_nic_is_taken_away_and_offered_again() -> None:
    spec = VmSpec("network", vcpus=CPUS, devices=[DeviceSpec("netvsc", "nic", options={"queues": CPUS})])
    async with VM(spec) as vm:
        await vm.settled()
        load, device = vm.memory.find(NetLoadWords)[0], vm.memory.find(NetDeviceWords)[0]
        streams = list(vm.memory.find(NetLoadStreamWords))

        def returned() -> int:
            return sum(stream.returned for stream in streams)

        await vm.start_program("net_load@eth0", seed=7)
        for registrations in (1, 2, 3):
            before = returned()
            await until(vm, lambda before=before: returned() > before + 500)  # type: ignore[misc]
            if registrations < 3:
                await vm.operate("rescind", name="nic")
                await until(vm, lambda: not device.relid)
                await vm.operate("offer", name="nic")
                await until(vm, lambda more=registrations: device.registrations > more)  # type: ignore[misc]
        await vm.stop_program("net_load@eth0")
        await until(vm, lambda: bool(load.finished))
        assert not load.failed, load.error
        assert device.queues == CPUS
        assert not any(stream.lost or stream.bad or stream.outstanding for stream in streams)
        assert not any(cpu.damaged for cpu in vm.memory.find(NetLoadCpuWords))
        interrupted = sum(stream.interrupted + max(0, stream.given_up - stream.next) for stream in streams)
        assert sum(stream.sent for stream in streams) == returned() + interrupted
    nothing_left()
