"""Controllers with sub-channels under load while channels move, controllers come and go, and disks are pulled out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.loaded import LoadedVm, loaded_vm

SEEDS = 2
CHANNELS = 3
"""Of the first controller, on as many CPUs."""


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_answers_come_on_every_channel_and_every_byte_is_right(tmp_path: Path, policy: str) -> None:
    async with loaded_vm(1, tmp_path, policy) as vm:
        vm.until_open("storvsc1", CHANNELS)
        vm.until_done(100)
        channels = vm.channels_of("storvsc1")
        assert {words.target_cpu for words in channels.values()} == {0, 1, 2}
        assert all(vm.counts(words).completions for words in channels.values())
        (number,) = {vm.counts(words).host_no for words in channels.values()}
        assert [channels[name].irq_name for name in sorted(channels)] == [
            f"pri@storvsc{number}",
            f"sub@storvsc{number}",
            f"sub@storvsc{number}",
        ]
        vm.hold_the_table_right("storvsc1")
        assert vm.total("interrupted") == 0


async def test_channels_that_move_under_load_lose_nothing_and_the_table_follows(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path) as vm:
            vm.until_open("storvsc1", CHANNELS)
            vm.start_moving(0, 1, 2)
            vm.until_done(120)
            assert vm.total("interrupted") == 0


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_a_controller_that_is_taken_away_under_load_comes_back_with_its_sub_channels(
    tmp_path: Path, policy: str
) -> None:
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path, policy) as vm:
            for name, channels in (("storvsc1", CHANNELS), ("storvsc2", 1)):
                vm.rescind(name)
                vm.until(lambda: vm.total("waiting") > 0, "a task that waits")
                vm.on_host(lambda name=name: vm.host.offer(name))  # type: ignore[misc]
                vm.until_open(name, channels)
                vm.until(lambda: not vm.total("waiting"), "nobody waiting")
                vm.until_done(30)
            vm.hold_the_table_right("storvsc1")
            assert vm.total("interrupted") > 0


async def test_a_controller_may_come_back_before_the_guest_has_let_go_of_it(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path) as vm:
            for _ in range(2):
                before = vm.total("interrupted")
                for name in ("storvsc1", "storvsc2"):
                    vm.on_host(vm.host.offers[name].rescind)
                    vm.on_host(lambda name=name: vm.host.offer(name))  # type: ignore[misc]
                vm.until(lambda before=before: vm.total("interrupted") > before, "a request that fails")  # type: ignore[misc]
                vm.until(lambda: not vm.total("waiting"), "nobody waiting")
                vm.until_open("storvsc1", CHANNELS)
                vm.until_open("storvsc2", 1)
                vm.until_done(20)


async def test_controllers_come_and_go_while_everything_moves(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path) as vm:
            vm.start_moving(1, 2)
            for _ in range(2):
                vm.rescind("storvsc1")
                vm.on_host(lambda: vm.host.offer("storvsc1"))
                vm.until_open("storvsc1", CHANNELS)
                vm.until_done(30)


async def test_a_sub_channel_that_is_taken_away_alone_interrupts_no_request(tmp_path: Path) -> None:
    """Linux would wait for ever for what was sent on it; here it is sent again on another. It stays until the primary
    goes, and comes back with it."""
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path) as vm:
            vm.until_open("storvsc1", CHANNELS)
            vm.on_host(vm.host.offers["storvsc1.1"].rescind)
            vm.until_open("storvsc1", CHANNELS - 1)
            vm.until_done(50)
            vm.hold_the_table_right("storvsc1")
            assert vm.total("interrupted") == 0
            assert vm.channels_of("storvsc1")["storvsc1.1"].rescind
            vm.rescind("storvsc1")
            vm.on_host(lambda: vm.host.offer("storvsc1"))
            vm.until_open("storvsc1", CHANNELS)
            vm.until_done(20)


async def test_a_disk_is_pulled_out_and_plugged_in_while_others_go_on(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        async with loaded_vm(seed, tmp_path) as vm:
            detach_and_attach(vm, writable=True)
            vm.until_done(30)


def detach_and_attach(vm: LoadedVm, writable: bool) -> None:
    def act(action: str, **arguments: object) -> None:
        vm.on_host(lambda: vm.host.act("storvsc1", action, lambda answer: None, lun=0, **arguments))

    act("detach")
    vm.until(lambda: vm.total("waiting") > 0, "a task that waits")
    act("attach", path=str(vm.images["storvsc1"]), writable=writable)
    vm.until(lambda: not vm.total("waiting"), "nobody waiting")
