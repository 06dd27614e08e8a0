"""NAPI on several CPUs: an interrupt may come to any of them, one polls, and what comes meanwhile is not forgotten."""

from __future__ import annotations

from random import Random

import pytest

from guest.kernel.memory import Struct, Word
from guest.net.napi import NAPI_POLL_WEIGHT, Napi, NapiWords
from tests.kernel.machine import Machine

VECTOR = 0x40


class RingWords(Struct):
    """A ring that only counts."""

    packets = Word("host; the CPU that polls")
    masked = Word("the CPU that polls")


class Nic:
    """A NIC whose driver is written as drivers are."""

    def __init__(self, seed: int, cpus: int = 3) -> None:
        self.random = Random(seed)
        self.machine = Machine(cpus, self.random)
        self.polling = 0
        self.inside = 0
        """CPUs in ``poll``, also behind the point where they no longer own the instance."""
        self.taken = 0
        self.napis: list[Napi] = []
        for core in self.machine.cores:
            self.ring = core.memory.one(RingWords)
            napi = Napi(core, core.memory.one(NapiWords), lambda budget, cpu=int(core.cpu): self.poll(cpu, budget))  # type: ignore[misc]
            core.vectors[VECTOR] = lambda napi=napi: self.interrupt(napi)  # type: ignore[misc]
            self.napis.append(napi)
        self.napis[0].enable()

    def interrupt(self, napi: Napi) -> None:
        if napi.schedule_prep():
            self.ring.masked = 1
            napi.schedule()

    def poll(self, cpu: int, budget: int) -> int:
        self.inside += 1
        self.polling += 1
        assert self.polling == 1, "two CPUs poll"
        self.machine.point()
        taken = min(budget, self.ring.packets)
        self.ring.packets -= taken
        self.taken += taken
        self.machine.point()
        self.polling -= 1
        if taken < budget and self.napis[cpu].complete_done():
            self.ring.masked = 0
            self.machine.point()
            if self.ring.packets and self.napis[cpu].schedule_prep():
                self.ring.masked = 1
                self.napis[cpu].schedule()
        self.inside -= 1
        return taken

    def receive(self, packets: int, anyway: bool = False) -> None:
        """The host puts packets into the ring and signals, if it may, whichever CPU it likes; or ``anyway``."""
        was = self.ring.packets
        self.ring.packets = was + packets
        if anyway or (not was and not self.ring.masked):
            self.random.choice(self.machine.cores).port.raise_vector(VECTOR)


@pytest.mark.parametrize("seed", range(40))
def test_every_packet_is_taken_by_one_cpu_at_a_time_wherever_the_interrupts_come(seed: int) -> None:
    nic = Nic(seed)
    sent = 0

    async def host() -> None:
        nonlocal sent
        core = nic.machine.cores[0]
        for _ in range(30):
            packets = nic.random.choice((1, 2, NAPI_POLL_WEIGHT, 3 * NAPI_POLL_WEIGHT))
            nic.receive(packets, anyway=nic.random.random() < 0.3)
            sent += packets
            await core.sched.pause()

    nic.machine.cores[0].sched.spawn(host(), "host")
    nic.machine.settle()
    assert (nic.taken, nic.ring.packets, nic.ring.masked) == (sent, 0, 0)
    assert not nic.napis[0].words.scheduled


def test_a_run_that_was_missed_is_made_up_for() -> None:
    """R8: the second interrupt finds the instance owned by another CPU, and its owner looks once more."""
    nic = Nic(0)
    owner, other = nic.napis[0], nic.napis[1]
    assert owner.schedule_prep()
    assert not other.schedule_prep()
    assert not owner.complete_done()
    nic.machine.settle()
    assert not owner.words.scheduled


def test_disabling_waits_for_the_poll_and_nothing_is_polled_afterwards() -> None:
    nic = Nic(0)
    disabled: list[int] = []

    async def disable() -> None:
        await nic.napis[1].disable()
        disabled.append(nic.taken)

    nic.receive(5 * NAPI_POLL_WEIGHT)
    nic.machine.settle()
    nic.ring.packets = 10 * NAPI_POLL_WEIGHT
    nic.napis[0].schedule_prep()
    nic.napis[0].schedule()
    nic.machine.cores[1].sched.spawn(disable(), "disable")
    nic.machine.pass_time()
    taken = nic.taken
    assert disabled == [taken]
    nic.receive(1, anyway=True)
    nic.machine.settle()
    assert nic.taken == taken


@pytest.mark.parametrize("seed", range(20))
def test_disabling_waits_for_a_poll_that_has_given_up_the_instance_and_still_looks_at_the_ring(seed: int) -> None:
    """``napi_disable`` alone does not: it is the grace period of ``netif_napi_del`` that does."""
    nic = Nic(seed)
    inside: list[int] = []

    async def disable() -> None:
        await nic.machine.cores[1].sched.pause()
        await nic.napis[1].disable()
        inside.append(nic.inside)

    nic.ring.packets = 1
    assert nic.napis[0].schedule_prep()
    nic.napis[0].schedule()
    nic.machine.cores[1].sched.spawn(disable(), "disable")
    nic.machine.pass_time()
    assert inside == [0]
