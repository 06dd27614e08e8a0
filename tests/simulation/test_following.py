"""A whole run along the course of another one: loads that end and begin again, and one that cannot begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.programs.storage_load import StorageLoadWords
from lab.loads import StorageLoad
from lab.simulation.course import Course
from lab.simulation.follow import follow
from lab.simulation.steering import SteeredSchedule
from lab.simulation.vm import SimulatedVM
from protocol.errors import OperatorError
from tests.simulation.loaded import LoadedVm

RUNS = 3


async def run_of_loads(directory: Path) -> LoadedVm:
    """A load is started as soon as the one before has ended, as at the cuts of a soak."""
    async with LoadedVm(1, directory) as vm:
        for _ in range(RUNS):
            await vm.loaded()
            vm.until_done(60)
            await vm.unloaded()
        return vm


@pytest.mark.parametrize("seed", [2, 3])
async def test_a_load_is_not_started_again_before_it_has_ended_here_too(seed: int, tmp_path: Path) -> None:
    real = await run_of_loads(tmp_path)
    course = Course(real.trace())
    async with SimulatedVM(real.spec, SteeredSchedule(course, seed), course) as vm:
        report = await follow(vm, course)
        assert not report.failed and not report.mistakes
        assert vm.memory.find(StorageLoadWords)[0].run == RUNS


async def test_a_load_that_was_refused_is_no_failure_of_its_device(tmp_path: Path) -> None:
    async with LoadedVm(1, tmp_path) as vm:
        await vm.settled()
        vm.rescind("storvsc2")
        with pytest.raises(OperatorError, match="there is no disk sd"):
            await vm.start_program("storage_load", disks=["sda", "sdb"])
        load = StorageLoad(vm)
        assert load.begun
        await load.ended()
        vm.on_host(lambda: vm.host.offer("storvsc2"))
        vm.until_open("storvsc2", 1)
        await vm.loaded()
        vm.until_done(20)
        await vm.unloaded()
