"""The host takes two channels back while their drivers still probe: who waits for whom decides."""

from __future__ import annotations

import pytest

from guest.vmbus.words import ChannelState
from lab.failure import VmFailure
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
        devices = {"heartbeat": vm.host.heartbeat, "timesync": vm.host.timesync}
        for name in devices:
            vm.on_host(offers[name].rescind)
        vm.until(lambda: not any(offers[name].relid for name in devices), "the relids released")
        for name, device in devices.items():
            vm.on_host(lambda name=name, device=device: vm.host.offer(name, device))  # type: ignore[misc]

        def relid(name: str) -> Relid:
            return offers[name].relid or Relid(0)

        vm.until(lambda: channels[relid("heartbeat")].state == ChannelState.OPENING, "the heartbeat being opened")
        vm.until(lambda: bool(channels[relid("timesync")].live), "the offer of timesync")
        for name in (first, second):
            vm.on_host(offers[name].rescind)
        vm.until(lambda: not any(offers[name].relid for name in devices), "the relids released", PATIENCE)


QUEUES = {"cpu0: hv_vmbus_rescind", "cpu0: hv_pri_chan"}


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_a_rescind_that_waits_for_a_probe_behind_another_hangs_the_guest(policy: str) -> None:
    """Linux works off rescinds one by one (hv_vmbus_rescind), and probes too (hv_pri_chan).

    The rescind of timesync waits for its probe, which waits for that of the heartbeat, which waits for the host to
    answer OPENCHANNEL. It never does: it has revoked the channel. Only the rescind of the heartbeat could end that
    wait, and it is queued behind the first. (On the system's work queue, which earlier kernels used, rescinds overlap.)
    """
    with pytest.raises(VmFailure) as hung:
        for seed in range(20):
            await offer_two_and_rescind_them("timesync", "heartbeat", policy, seed)
    assert set(str(hung.value).partition("not ended: ")[2].split(", ")) == QUEUES


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_in_the_order_of_the_probes_both_rescinds_come_to_their_end(policy: str) -> None:
    for seed in range(10):
        await offer_two_and_rescind_them("heartbeat", "timesync", policy, seed)
