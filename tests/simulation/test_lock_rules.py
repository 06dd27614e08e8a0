"""Whoever blocks in a spin lock serves no port; so nobody may wait for the host, or sleep, while holding one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from guest.kernel.core import Core
from guest.kernel.sched import park
from guest.kernel.wait import MutexWords
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.wire.synic import Register


async def run_on_cpu(task: Callable[[Core], Coroutine[Any, Any, None]]) -> None:
    async with SimulatedVM(VmSpec(vcpus=1, memory_mb=4)) as vm:
        await vm.settled()
        cpu = vm.cpus[0]
        cpu.enter(lambda: cpu.spawn(task(cpu.core), "culprit"))
        await vm.pass_time(0.001)


async def test_a_task_that_is_suspended_with_a_spin_lock_is_caught() -> None:
    async def sleep_inside(core: Core) -> None:
        with core.locks.spin("pages"):
            await park()

    with pytest.raises(AssertionError, match="culprit parked while holding a spin lock"):
        await run_on_cpu(sleep_inside)


async def test_a_task_that_takes_a_mutex_with_a_spin_lock_is_caught_though_the_mutex_is_free() -> None:
    """So channel_mutex is never taken inside a spin lock (I22)."""

    async def lock_inside(core: Core) -> None:
        mutex = core.mutex(core.memory.one(MutexWords))
        with core.locks.spin("pages"):
            async with mutex:
                pass

    with pytest.raises(RuntimeError, match="culprit may sleep while holding a spin lock"):
        await run_on_cpu(lock_inside)


async def test_a_cpu_that_waits_for_the_host_with_a_spin_lock_is_caught() -> None:
    async def write_inside(core: Core) -> None:
        with core.locks.spin("pages"):
            core.port.write_register(Register.SINT3, core.port.read_register(Register.SINT3))

    with pytest.raises(RuntimeError, match="a CPU waits for the host while holding a spin lock"):
        await run_on_cpu(write_inside)


async def test_the_status_of_a_post_may_be_waited_for_with_a_spin_lock() -> None:
    async def post_inside(core: Core) -> None:
        with core.locks.spin("pages"):
            core.port.hypercall(0, 0)

    await run_on_cpu(post_inside)
