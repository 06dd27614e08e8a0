"""NICs under load in whole VMs, under many schedules: every frame comes back once and intact, or is accounted for."""

from __future__ import annotations

import errno

import pytest

from guest.net.device import GONE, REGISTERED
from host.machine import DeviceSpec
from lab.simulation.vm import SimulatedVM
from lab.spec import GuestVersion, VmSpec
from lab.workload import exchange_frames
from tests.simulation.network import PATIENCE, NetVM

POLICIES = ["rfc", "legacy"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("echo", ["same", "rss"])
async def test_eight_cpus_send_on_eight_queues_while_every_channel_is_moved(policy: str, echo: str) -> None:
    for seed in range(3):
        async with NetVM(seed, cpus=8, policy=policy, echo=echo) as vm:
            await vm.settled()
            movers = vm.movers(3 if policy == "rfc" else 0)
            await vm.start_load(frames=25)
            frames = vm.end_of_load()
            vm.until_ended(movers)
            assert (frames.sent, frames.returned, frames.bad) == (200, 200, 0)
            assert vm.device().queues == 8
            assert all(queue.tx_frames for queue in vm.queues())
            report = await vm.report()
            dropped = sum(cpu.dropped_in_progress for cpu in vm.guest.irq.cpu_stat)
            assert sum(check.left_value - check.right_value for check in report.failed) == dropped


async def test_a_run_leaves_a_nic_without_an_echo_in_peace_and_no_station_answers_its_frames() -> None:
    stations = [f"10.{cpu}.{queue}.{end}" for cpu in (0, 1) for queue in (0, 1) for end in (1, 2)]
    silent = DeviceSpec("netvsc", "silent", options={"echo": "off"})
    loud = DeviceSpec("netvsc", "loud", options={"ips": stations, "queues": 2, "mac": "00:15:5d:00:00:02"})
    async with SimulatedVM(VmSpec(vcpus=2, devices=[silent, loud])) as vm:
        await vm.settled()
        (check,) = await exchange_frames(vm, 20, lambda what, done, of: None)
        assert (check.left_value, check.right_value) == (40, 40)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_nic_that_is_taken_away_and_offered_again_under_load_loses_nothing_else(policy: str) -> None:
    interrupted = 0
    for seed in range(4):
        async with NetVM(seed, policy=policy) as vm:
            await vm.settled()
            vm.until(lambda: bool(vm.device().attached), "all its queues", PATIENCE)
            free = vm.cpus[0].core.pages.free_pages()
            await vm.start_load()
            for _ in range(2):
                vm.until_returned(40)
                vm.replug()
            vm.until_returned(40)
            frames = await vm.stop_load()
            assert (frames.lost, frames.bad) == (0, 0)
            assert frames.sent == frames.returned + frames.interrupted
            assert vm.device().registrations == 3
            assert vm.cpus[0].core.pages.free_pages() == free
            interrupted += frames.interrupted
    assert interrupted, "no frame was ever under way: the test tests nothing"


async def test_down_and_up_and_down_again_as_often_as_somebody_likes() -> None:
    for seed in range(4):
        async with NetVM(seed) as vm:
            await vm.settled()
            await vm.start_load()
            for cpu in (1, 0, 3):
                vm.until_returned(30)
                await vm.link(cpu, up=False)
                assert (vm.device().running, vm.files.read("/sys/class/net/eth0/operstate")) == (0, b"down\n")
                await vm.link(cpu, up=True)
                assert vm.files.read("/sys/class/net/eth0/operstate") == b"up\n"
            vm.until_returned(30)
            frames = await vm.stop_load()
            assert (frames.lost, frames.bad) == (0, 0)
            assert frames.sent == frames.returned + frames.interrupted


async def test_what_sysfs_says_of_a_network_device() -> None:
    async with NetVM(1, cpus=2) as vm:
        await vm.settled()
        await vm.start_load(frames=10)
        vm.end_of_load()

        def read(name: str) -> str:
            return vm.files.read(f"/sys/class/net/eth0/{name}").decode().rstrip("\n")

        assert (read("address"), read("mtu"), read("type")) == ("00:15:5d:00:00:00", "1500", "1")
        assert (read("carrier"), read("flags"), read("ifalias")) == ("1", "0x1003", "nic0")
        assert read("statistics/rx_packets") == read("statistics/tx_packets") == "20"
        assert read("statistics/rx_bytes") == read("statistics/tx_bytes")
        with pytest.raises(OSError, match="Invalid argument"):
            await vm.files.write("/sys/class/net/eth0/flags", b"up")
        await vm.link(1, up=False)
        with pytest.raises(OSError, match="down"):
            read("carrier")
        vm.on_host(lambda: vm.host.rescind("nic0"))
        vm.until(lambda: vm.device().state == GONE, "the removal", PATIENCE)
        assert not vm.files.list("/sys/class/net")


async def test_three_nics_are_probed_at_once_and_loaded_at_once() -> None:
    async with NetVM(3, cpus=3, nics=3) as vm:
        await vm.settled()
        for number in range(3):
            await vm.start_load(number, frames=30)
        for number in range(3):
            frames = vm.end_of_load(number)
            assert (frames.sent, frames.returned, frames.bad) == (90, 90, 0)
        assert len({vm.device(number).address for number in range(3)}) == 3


async def test_the_load_is_started_again_on_the_same_device() -> None:
    async with NetVM(1, cpus=2) as vm:
        await vm.settled()
        for _ in range(2):
            await vm.start_load(frames=10)
            assert vm.end_of_load().returned == 20
        await vm.start_load()
        vm.until_returned(50)
        frames = await vm.stop_load()
        assert frames.sent == frames.returned >= 50


@pytest.mark.parametrize("version", ["1", "2", "4", "5", "6", "6.1"])
async def test_every_version_of_the_protocol_carries_frames_and_the_older_have_one_channel(version: str) -> None:
    async with NetVM(2, cpus=2, nvsp=version) as vm:
        await vm.settled()
        await vm.start_load(frames=10)
        assert vm.end_of_load().returned == 20
        assert vm.device().queues == (1 if version in ("1", "2", "4") else 2)


async def test_a_nic_that_is_gone_for_good_interrupts_the_load_and_the_load_can_still_be_stopped() -> None:
    async with NetVM(5) as vm:
        await vm.settled()
        await vm.start_load()
        vm.until_returned(40)
        vm.on_host(lambda: vm.host.rescind("nic0"))
        vm.until(lambda: vm.device().state == GONE, "the removal", PATIENCE)
        frames = await vm.stop_load()
        assert (frames.lost, frames.bad) == (0, 0)
        assert frames.sent == frames.returned + frames.interrupted


@pytest.mark.parametrize("version", ["5.3", "2.4"])
async def test_the_driver_lets_go_of_its_device_under_load_and_takes_it_again(version: GuestVersion) -> None:
    """Before protocol 3.0 the host wants the buffers back before the channel is closed, afterwards after it."""
    for seed in range(3):
        async with NetVM(seed, cpus=3, policy="legacy", version=version) as vm:
            await vm.settled()
            vm.until(lambda: bool(vm.device().attached), "all its queues", PATIENCE)
            free = vm.cpus[0].core.pages.free_pages()
            await vm.start_load()
            for _ in range(2):
                vm.until_returned(40)
                await vm.driver_file("unbind")
                assert vm.device().state == GONE
                await vm.driver_file("bind")
            vm.until_returned(40)
            frames = await vm.stop_load()
            assert (frames.lost, frames.bad) == (0, 0)
            assert frames.sent == frames.returned + frames.interrupted
            assert vm.device().queues == 3
            report = await vm.report()
            assert not report.failed
            assert not report.complaints
            assert vm.cpus[0].core.pages.free_pages() == free


async def test_two_nics_may_exchange_their_names() -> None:
    async with NetVM(2, cpus=2, nics=2, policy="legacy") as vm:
        await vm.settled()
        vm.until(lambda: all(vm.device(number).attached for number in range(2)), "all their queues", PATIENCE)
        for number in range(2):
            await vm.start_load(number, frames=10)
            vm.end_of_load(number)
        before = [vm.device(number).address for number in range(2)]
        names = [f"nic{address >> 40}" for address in before]
        for name in names:
            await vm.driver_file("unbind", name)
        for name in reversed(names):
            await vm.driver_file("bind", name)
        assert [vm.device(number).address for number in range(2)] == before[::-1]
        for number in range(2):
            await vm.start_load(number, frames=20)
            assert vm.end_of_load(number).returned == 40


async def test_with_the_rfc_as_posted_the_driver_cannot_take_it_again() -> None:
    """D1: the IRQ of a channel stays requested when it is closed, and the next open fails."""
    async with NetVM(1, cpus=2) as vm:
        await vm.settled()
        vm.until(lambda: bool(vm.device().attached), "all its queues", PATIENCE)
        await vm.driver_file("unbind")
        free = vm.cpus[0].core.pages.free_pages()
        with pytest.raises(OSError) as failure:
            await vm.driver_file("bind")
        assert failure.value.errno == errno.EBUSY
        assert vm.device().state != REGISTERED
        assert vm.cpus[0].core.pages.free_pages() == free
