"""What either side of a NIC has counted, channel by channel."""

from __future__ import annotations

import pytest

from lab.report import Check, Report
from tests.simulation.network import PATIENCE, NetVM


@pytest.mark.parametrize("echo", ["same", "rss"])
async def test_host_and_guest_have_counted_the_same_frames_on_every_channel(echo: str) -> None:
    for seed in range(3):
        async with NetVM(seed, echo=echo) as vm:
            await vm.settled()
            vm.until(lambda: bool(vm.device().attached), "all its queues", PATIENCE)
            await vm.start_load(frames=50)
            assert vm.end_of_load().returned == 200
            host = vm.host.devices["nic0"].counts()
            for index, queue in enumerate(vm.queues()):
                guest = (queue.tx_frames, queue.tx_bytes, queue.rx_frames, queue.rx_bytes)
                kinds = ("transmitted_frames", "transmitted_bytes", "received_frames", "received_bytes")
                assert guest == tuple(host[f"{kind}.{index}"] for kind in kinds), f"channel {index}, seed {seed}"
            assert (host["unwanted"], host["too_long"], host["echo_dropped"], host["echo_held"]) == (0, 0, 0, 0)


def network_checks(report: Report) -> list[Check]:
    return [check for check in report.checks if check.invariant == "L8" and check.left_value]


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_frames_of_a_nic_that_is_taken_away_under_load_and_offered_again_are_accounted_for(policy: str) -> None:
    in_doubt = 0
    for seed in range(4):
        async with NetVM(seed, cpus=3, policy=policy) as vm:
            await vm.settled()
            await vm.start_load()
            for _ in range(2):
                vm.until_returned(40)
                vm.on_host(lambda: vm.host.rescind("nic0"))
                vm.until(lambda: vm.host.offers["nic0"].relid is None, "the NIC let go of", PATIENCE)
                vm.on_host(lambda: vm.host.offer("nic0"))
            vm.until_returned(40)
            await vm.stop_load()
            report = await vm.report()
            assert report.failed == [] and len(network_checks(report)) >= 6
            in_doubt += vm.host.devices["nic0"].counts()["abandoned_frames"]
            in_doubt += sum(queue.tx_abandoned for queue in vm.queues())
    assert in_doubt, "no seed has caught a frame on its way"


async def test_bytes_are_equal_too_over_all_the_times_that_a_driver_was_bound() -> None:
    async with NetVM(1, cpus=2, policy="legacy") as vm:
        await vm.settled()
        await vm.start_load()
        for _ in range(2):
            vm.until_returned(40)
            await vm.driver_file("unbind")
            await vm.driver_file("bind")
        vm.until_returned(40)
        await vm.stop_load()
        report = await vm.report()
        assert report.failed == []
        assert sum("bytes" in check.name for check in network_checks(report)) == 4
        vm.host.devices["nic0"].nic.counts.of(1).received_bytes += 1  # type: ignore[attr-defined]
        (failed,) = (await vm.report()).failed
        assert failed.name == "bytes of frames to channel 1 of the NICs"
