"""Channels come and go, and come back under the same relid: the report's totals are of all their lives."""

from __future__ import annotations

import pytest

from guest.vmbus.words import ChannelState
from lab.image import disk_for
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.workload import read_disk

TIMES = 3
BUSY = 20.0
PATIENCE = 5.0
IMAGE_BYTES = 32 << 10


def silent(what: str, done: int, of: int) -> None:
    pass


async def take_away(vm: SimulatedVM, name: str) -> None:
    """Until the guest has let go of it."""
    vm.on_host(lambda: vm.host.rescind(name))
    vm.until(lambda: vm.host.offers[name].relid is None, f"the relid of {name} released", PATIENCE)


async def offer_again(vm: SimulatedVM, name: str) -> None:
    """Until the guest has opened it."""
    offers, channels = vm.host.offers, vm.guest.vmbus.channels
    vm.on_host(lambda: vm.host.offer(name))
    vm.until(lambda: channels[offers[name].relid or 0].state == ChannelState.OPENED, f"{name} opened", PATIENCE)


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_rescinds_and_offers_leave_every_invariant_green(policy: str) -> None:
    for seed in range(3):
        spec = VmSpec(vcpus=2, policy=policy, seed=seed, memory_mb=8, time_scale=BUSY)
        with disk_for(spec, IMAGE_BYTES) as spec:
            async with SimulatedVM(spec) as vm:
                await vm.settled()
                for _ in range(TIMES):
                    await read_disk(vm, silent)
                    for name in ("heartbeat", "timesync", "storvsc"):
                        await take_away(vm, name)
                        await offer_again(vm, name)
                        await vm.settled()
                    await vm.pass_time(0.1)
                report = await vm.report()
                assert report.failed == [] and report.defects == []
                assert max(row.opens for row in report.channels) > 1


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_a_relid_that_is_given_to_another_device_keeps_both_their_counts(policy: str) -> None:
    async with SimulatedVM(VmSpec(vcpus=2, policy=policy, memory_mb=8, time_scale=BUSY)) as vm:
        await vm.settled()
        for name in ("heartbeat", "timesync"):
            await take_away(vm, name)
        await offer_again(vm, "heartbeat")
        relid = vm.host.offers["heartbeat"].relid
        await vm.pass_time(0.3)
        before = await vm.report()
        await take_away(vm, "heartbeat")
        await offer_again(vm, "timesync")
        assert vm.host.offers["timesync"].relid == relid
        await vm.pass_time(0.3)
        after = await vm.report()
        assert before.failed == after.failed == []
        first, both = (next(row for row in each.channels if row.relid == relid) for each in (before, after))
        assert both.sent > first.sent > 0 and (first.opens, both.opens) == (1, 2)


async def test_the_irq_that_the_rfc_keeps_over_a_close_is_named_and_is_no_failure() -> None:
    async with SimulatedVM(VmSpec(vcpus=2, memory_mb=8)) as vm:
        await vm.settled()
        shutdown = vm.cpus[0].guest.system.bus.channels[9]
        vm.do(0, shutdown.close(), "vmbus_close")
        report = await vm.report()
        assert report.failed == []
        assert {(check.invariant, check.defect) for check in report.defects} == {("I19", "D1"), ("I21", "D1")}
