"""``async with VM(spec) as vm:`` as a library: nothing is left in the caller either, and it hears what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path

import pytest

from lab.failure import VmFailure
from lab.spec import DiskSpec, VmSpec
from lab.vm import VM
from protocol.errors import ExitCode, OperatorError
from tests.integration.machine import DEADLINE, make_image, nothing_left, open_files


@pytest.fixture
def spec(tmp_path: Path) -> VmSpec:
    make_image(tmp_path / "disk.img", 1 << 20)
    return VmSpec("api", vcpus=2, disks=[DiskSpec(str(tmp_path / "disk.img"))])


async def boot(spec: VmSpec) -> None:
    async with VM(spec) as vm:
        await vm.settled()


async def test_a_vm_leaves_nothing_in_the_process_that_had_it(spec: VmSpec) -> None:
    for _ in range(3):
        await boot(spec)
    gc.collect()
    maps = Path("/proc/self/maps").read_text()
    assert not [file for file in open_files(os.getpid()) if "vmbus-lab:api:" in file]
    assert "vmbus-lab:api:" not in maps
    nothing_left()


async def test_what_the_caller_waits_for_fails_when_the_vm_ends(spec: VmSpec) -> None:
    with pytest.raises(VmFailure, match=r"cpu0 \(pid \d+\) was killed by SIGKILL") as failure:
        async with VM(spec) as vm:
            waiting = asyncio.create_task(vm.pass_time(DEADLINE))
            os.kill(vm.info.pids["cpu0"], signal.SIGKILL)
            for wait in (waiting, vm.settled(), vm.report()):
                with pytest.raises(VmFailure, match="cpu0"):
                    await wait
    assert failure.value.code == ExitCode.PROCESS_DIED
    nothing_left()


async def test_several_requests_to_one_process_may_be_under_way(spec: VmSpec) -> None:
    async with asyncio.timeout(DEADLINE), VM(spec) as vm:
        settled = asyncio.create_task(vm.settled())
        snapshots = await asyncio.gather(*(vm.cpu(0, "snapshot") for _ in range(5)))
        assert [snapshot["sent"] for snapshot in snapshots] == sorted(snapshot["sent"] for snapshot in snapshots)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await vm.cpu(0, "snapshot")
        assert (await vm.cpu(0, "snapshot"))["sent"] >= snapshots[-1]["sent"]
        await settled
    nothing_left()


async def test_a_vm_that_ended_unnoticed_is_a_failure_at_the_latest_on_leaving(spec: VmSpec) -> None:
    with pytest.raises(VmFailure, match="host"):
        async with VM(spec) as vm:
            os.kill(vm.info.pids["host"], signal.SIGKILL)
            await asyncio.wait((vm.ended,))
    nothing_left()


async def test_an_error_of_the_caller_ends_the_vm_and_stays_the_callers(spec: VmSpec) -> None:
    with pytest.raises(ZeroDivisionError):
        async with VM(spec):
            raise ZeroDivisionError
    nothing_left()


async def test_a_vm_that_cannot_start_says_why(spec: VmSpec) -> None:
    spec.disks[0].path = "/no/image"
    with pytest.raises(VmFailure, match="cannot open the disk image /no/image: No such file") as failure:
        await boot(spec)
    assert failure.value.code == ExitCode.OPERATOR
    nothing_left()


async def test_mistakes_in_requests_are_the_operators(spec: VmSpec) -> None:
    async with asyncio.timeout(DEADLINE), VM(spec) as vm:
        await vm.settled()
        with pytest.raises(OperatorError, match="there is no fault 'meteor' here"):
            await vm.inject("host", "meteor")
        with pytest.raises(OperatorError, match="sdz"):
            await vm.start_program("checksum", disk_name="sdz")
        with pytest.raises(OperatorError, match="not a request"):
            await vm.host("explode")
    nothing_left()


async def test_a_cancelled_start_leaves_nothing(spec: VmSpec) -> None:
    """At whatever point of the start the caller gives up."""
    for patience in (0.05, 0.2, 0.3, 0.4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience), VM(spec) as vm:
                await vm.pass_time(DEADLINE)
        nothing_left()
