"""CPUs of a VM of processes go offline and come back; their workers live on."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from guest.irq.proc import show_interrupts
from lab.spec import VmSpec
from lab.vm import VM
from protocol.errors import OperatorError
from tests.integration.machine import nothing_left


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_cpus_go_and_come_while_the_host_interrupts_and_every_equation_holds(policy: str) -> None:
    async with VM(VmSpec("hotplug", vcpus=4, policy=policy, time_scale=500.0)) as vm:
        await vm.settled()
        assert await vm.cpu_online(0, False) == errno.EBUSY
        for _ in range(5):
            assert await asyncio.gather(*(vm.cpu_online(cpu, False) for cpu in (3, 1, 2))) == [0, 0, 0]
            assert vm.guest.online == 0b0001
            assert show_interrupts(vm.guest.irq, vm.guest.online).splitlines()[0].split() == ["CPU0"]
            assert (await vm.report()).failed == []
            assert await asyncio.gather(*(vm.cpu_online(cpu, True) for cpu in (1, 2, 3))) == [0, 0, 0]
        assert vm.guest.online == 0b1111
        assert (await vm.report()).failed == []
        for pid in vm.info.pids.values():
            os.kill(pid, 0)
    nothing_left()


async def test_a_program_is_not_started_while_a_cpu_is_offline() -> None:
    async with VM(VmSpec("hotplug", vcpus=2)) as vm:
        await vm.settled()
        assert await vm.cpu_online(1, False) == 0
        with pytest.raises(OperatorError, match="bring CPU 1 online before"):
            await vm.start_program("checksum")
