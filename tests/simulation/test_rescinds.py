"""The host takes two channels back while their drivers still probe: who waits for whom decides."""

from __future__ import annotations

from functools import partial

import pytest

from guest.vmbus.words import ChannelState
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.ids import Relid

PATIENCE = 0.1
"""Virtual seconds, in which everything here ends if it ends at all."""


async def offer_two_and_rescind_them(first: str, second: str, policy: str, seed: int) -> None:
    """Heartbeat and timesync are offered once more, in this order, and taken back while the heartbeat is opened."""
    async with SimulatedVM(VmSpec(vcpus=2, seed=seed, policy=policy, memory_mb=4)) as vm:
        await vm.settled()
        offers, channels = vm.host.offers, vm.guest.vmbus.channels
        devices = ("heartbeat", "timesync")
        for name in devices:
            vm.on_host(offers[name].rescind)
        vm.until(lambda: not any(offers[name].relid for name in devices), "the relids released")
        for name in devices:
            vm.on_host(partial(vm.host.offer, name))

        def relid(name: str) -> Relid:
            return offers[name].relid or Relid(0)

        vm.until(lambda: channels[relid("heartbeat")].state == ChannelState.OPENING, "the heartbeat being opened")
        vm.until(lambda: bool(channels[relid("timesync")].live), "the offer of timesync")
        for name in (first, second):
            vm.on_host(offers[name].rescind)
        vm.until(lambda: not any(offers[name].relid for name in devices), "the relids released", PATIENCE)


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
@pytest.mark.parametrize("order", [("heartbeat", "timesync"), ("timesync", "heartbeat")])
async def test_rescinds_of_two_devices_that_are_probed_come_to_their_end_in_either_order(
    order: tuple[str, str], policy: str
) -> None:
    """Linux works off rescinds one by one (hv_vmbus_rescind), and each waits for the probe of its device.

    Probes are asynchronous, so none waits for another. (Were they worked off in order, the rescind of timesync would
    wait for a probe behind that of the heartbeat, which the host has revoked and will not answer; and only the rescind
    of the heartbeat could end that, which is queued behind the first.)
    """
    for seed in range(10):
        await offer_two_and_rescind_them(*order, policy, seed)
