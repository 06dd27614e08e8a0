"""What either side of a NIC has counted, channel by channel."""

from __future__ import annotations

import pytest

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
