"""The small devices at work, taken away at any moment and offered again, under many schedules."""

from __future__ import annotations

import pytest

from guest.drivers.hid_hyperv.driver import MouseWords
from guest.drivers.hv_balloon.words import BalloonWords
from guest.kernel.memory import Struct
from host.machine import DeviceSpec
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec

DEVICES = [
    DeviceSpec("shutdown", "shutdown"),
    DeviceSpec("kvp", "kvp", options={"every": 0.03}),
    DeviceSpec("vss", "vss", options={"every": 0.02}),
    DeviceSpec("balloon", "balloon", options={"every": 0.02}),
    DeviceSpec("mouse", "mouse", options={"every": 0.005}),
    DeviceSpec("keyboard", "keyboard", options={"every": 0.005}),
    DeviceSpec("framebuffer", "framebuffer"),
]
SMALL = ("kvp", "vss", "balloon", "mouse", "keyboard", "framebuffer")
PATIENCE = 0.5
"""Virtual seconds in which a rescind ends; a driver that waits for a host that has gone would wait 5 at least."""


def small_vm(seed: int, policy: str = "rfc") -> SimulatedVM:
    return SimulatedVM(VmSpec(vcpus=2, seed=seed, policy=policy, memory_mb=64, devices=list(DEVICES)))


def words_of(vm: SimulatedVM, name: str, struct: type[Struct]) -> Struct:
    relid = vm.host.offers[name].relid
    assert relid is not None
    return vm.guest.driver_words(vm.guest.vmbus.channels[relid], struct)


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_everybody_works_and_every_number_agrees(policy: str) -> None:
    for seed in range(3):
        async with small_vm(seed, policy) as vm:
            await vm.settled()
            await vm.pass_time(0.5)
            report = await vm.report()
            assert [str(check) for check in report.failed] == []
            assert report.complaints == []
            balloon, mouse = words_of(vm, "balloon", BalloonWords), words_of(vm, "mouse", MouseWords)
            assert isinstance(balloon, BalloonWords)
            assert isinstance(mouse, MouseWords)
            assert balloon.balloons >= 5
            assert mouse.reports >= 50


@pytest.mark.parametrize("name", SMALL)
async def test_a_device_can_be_taken_away_while_it_is_probed_and_while_it_works(name: str) -> None:
    """At once, in the middle of the handshake, and later; what the host has at that moment is given up or kept."""
    for seed in range(3):
        async with small_vm(seed) as vm:
            await vm.settled()
            for moment in range(5):
                await vm.operate("rescind", name=name)
                vm.until(lambda vm=vm: vm.host.offers[name].relid is None, f"{name} released", PATIENCE)  # type: ignore[misc]
                await vm.operate("offer", name=name)
                await vm.pass_time((0, 0.0005, 0.002, 0.03, 0.2)[moment])
            await vm.pass_time(0.5)
            assert vm.host.snapshot()["channels"][name]["state"] == "OPEN"
            assert [str(check) for check in (await vm.report()).failed] == []
