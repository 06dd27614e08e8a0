"""The watchdog names what was lost, and changes nothing."""

from __future__ import annotations

import pytest

from lab.failure import VmFailure
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.stalls import Awaited
from lab.watchdog import STALL_SECONDS
from protocol.errors import ExitCode
from protocol.wire.messages import GpadlCreated, OpenChannelResult

LOOKS = 10


async def watch(vm: SimulatedVM) -> None:
    """Look now and then, a little longer than the watchdog is patient."""
    for _ in range(LOOKS + 2):
        vm.watchdog.check(vm.now())
        await vm.pass_time(STALL_SECONDS / LOOKS)


async def offer_again(vm: SimulatedVM) -> None:
    """The heartbeat, which the guest opens then."""
    vm.on_host(lambda: vm.host.rescind("heartbeat"))
    vm.until(lambda: vm.host.offers["heartbeat"].relid is None, "the relid released", 5.0)
    vm.on_host(lambda: vm.host.offer("heartbeat"))


@pytest.mark.parametrize("message", [GpadlCreated, OpenChannelResult])
async def test_an_answer_that_never_comes_is_named(message: type[GpadlCreated | OpenChannelResult]) -> None:
    async with SimulatedVM(VmSpec(vcpus=2, memory_mb=8)) as vm:
        await vm.settled()
        await vm.inject("host", "lose_message", number=int(message.number))
        await offer_again(vm)
        with pytest.raises(VmFailure) as failure:
            await watch(vm)
        assert str(failure.value) == f"waiting for {message.name} of relid 1 for 10 s"
        assert failure.value.code == ExitCode.STRANDED


async def test_a_cpu_that_missed_an_interrupt_of_another_is_named() -> None:
    async with SimulatedVM(VmSpec(vcpus=2, memory_mb=8)) as vm:
        await vm.settled()
        await vm.inject("host", "lose_ipi", vp=1)
        vm.on_host(lambda: vm.host.rescind("heartbeat"))
        with pytest.raises(VmFailure, match="waiting for CPU 1 to run what other CPUs ask of it for 10 s"):
            await watch(vm)


async def test_a_wait_that_ends_starts_a_new_one() -> None:
    async with SimulatedVM(VmSpec(vcpus=1, memory_mb=8)) as vm:
        await vm.settled()
        step = [Awaited(number, f"step {number}") for number in range(2)]
        assert vm.watchdog.stalled(0, step[0]) is None
        assert vm.watchdog.stalled(STALL_SECONDS - 1, step[1]) is None
        assert vm.watchdog.stalled(STALL_SECONDS, step[1]) is None
        assert vm.watchdog.stalled(2 * STALL_SECONDS, step[1]) == "waiting for step 1 for 10 s"


async def test_a_vm_that_works_is_left_alone() -> None:
    async with SimulatedVM(VmSpec(vcpus=2, memory_mb=8)) as vm:
        await vm.settled()
        await offer_again(vm)
        await watch(vm)
