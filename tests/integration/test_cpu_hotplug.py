"""CPUs of a VM of processes go offline and come back; their workers live on."""

from __future__ import annotations

import asyncio
import os

import pytest

from guest.irq.proc import show_interrupts
from lab.spec import VmSpec
from lab.vm import VM
from protocol.errors import OperatorError
from tests.integration.machine import nothing_left


async def online(vm: VM, cpu: int, text: bytes) -> None:
    """``echo TEXT > /sys/devices/system/cpu/cpuN/online``."""
    await vm.files.write(f"/sys/devices/system/cpu/cpu{cpu}/online", text)


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_cpus_go_and_come_while_the_host_interrupts_and_every_equation_holds(policy: str) -> None:
    async with VM(VmSpec("hotplug", vcpus=4, policy=policy, time_scale=500.0)) as vm:
        await vm.settled()
        with pytest.raises(OSError, match="No such file"):
            await online(vm, 0, b"0")
        for _ in range(5):
            await asyncio.gather(*(online(vm, cpu, b"0") for cpu in (3, 1, 2)))
            assert vm.guest.online == 0b0001
            assert show_interrupts(vm.guest.irq, vm.guest.online).splitlines()[0].split() == ["CPU0"]
            assert (await vm.report()).failed == []
            await asyncio.gather(*(online(vm, cpu, b"1") for cpu in (1, 2, 3)))
        assert vm.guest.online == 0b1111
        assert (await vm.report()).failed == []
        for pid in vm.info.pids.values():
            os.kill(pid, 0)
    nothing_left()


async def test_a_program_is_not_started_while_a_cpu_is_offline() -> None:
    async with VM(VmSpec("hotplug", vcpus=2)) as vm:
        await vm.settled()
        await online(vm, 1, b"0")
        with pytest.raises(OperatorError, match="bring CPU 1 online before"):
            await vm.start_program("checksum")
