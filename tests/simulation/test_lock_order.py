"""I22: desc->lock, set_affinity_lock, locks of drivers, in this order; set_affinity_lock with interrupts off.

``channel_mutex`` is outside of all of them, because nobody may sleep with a spin lock (``test_lock_rules``).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from guest.kernel.core import Core
from lab.simulation.lock_order import LockOrder
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from tests.simulation.network import NetVM
from tests.simulation.test_hotplug_under_load import come_and_go
from tests.simulation.test_many_seeds import rescind_while_used, whole_vm

R6 = "hv_synic_cleanup takes set_affinity_lock with interrupts on"
"""The defect of RFC patch 12 as posted: spin_lock() of a lock that nests inside desc->lock."""


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[LockOrder]:
    """Of every simulated VM of the test."""
    watching: list[LockOrder] = []
    enter = SimulatedVM.__aenter__

    async def watched(vm: SimulatedVM) -> SimulatedVM:
        await enter(vm)
        watching.append(LockOrder(vm))
        return vm

    monkeypatch.setattr(SimulatedVM, "__aenter__", watched)
    return watching


def seen(orders: list[LockOrder]) -> tuple[set[str], set[tuple[str, str]]]:
    """What was wrong, and which family was taken inside which."""
    assert not any(order.cycle() for order in orders)
    wrong = {str(taking) for order in orders for taking in order.wrong}
    return wrong, {(taking.outer, taking.inner) for order in orders for taking in order.nested}


async def test_channels_that_are_moved_by_three_cpus_while_a_disk_is_used_keep_the_order(
    orders: list[LockOrder],
) -> None:
    for seed in range(4):
        await whole_vm(seed, "rfc")
    wrong, nested = seen(orders)
    assert not wrong
    assert nested >= {("desc", "set_affinity_lock"), ("desc", "stor_device")}


async def test_so_do_nics_under_load_and_channels_that_are_taken_away(orders: list[LockOrder]) -> None:
    for seed in range(2):
        await rescind_while_used(seed)
        async with NetVM(seed) as vm:
            await vm.settled()
            movers = vm.movers(3)
            await vm.start_load(frames=25)
            vm.end_of_load()
            vm.until_ended(movers)
    wrong, nested = seen(orders)
    assert not wrong
    assert nested >= {("desc", "set_affinity_lock"), ("sched_lock", "napi")}


async def test_r6_a_cpu_that_goes_offline_breaks_the_rule_as_posted_and_nobody_else_does(
    orders: list[LockOrder],
) -> None:
    for seed in range(2):
        await come_and_go(seed, "rfc")
    wrong, _ = seen(orders)
    assert wrong == {R6}


async def watched(task: Callable[[Core], Coroutine[Any, Any, None]]) -> LockOrder:
    async with SimulatedVM(VmSpec(vcpus=1, memory_mb=4)) as vm:
        order = LockOrder(vm)
        await vm.settled()
        assert not order.wrong
        vm.do(0, task(vm.cpus[0].core), "culprit")
        return order


async def test_a_lock_that_is_taken_the_wrong_way_round_is_told_with_both_culprits() -> None:
    async def culprit(core: Core) -> None:
        with core.locks.irqsave("stor_device", 1), core.locks.irqsave("desc", 2):
            pass

    (wrong,) = (await watched(culprit)).wrong
    assert str(wrong) == "culprit takes desc inside stor_device of culprit"


async def test_two_families_that_are_taken_either_way_round_are_a_cycle() -> None:
    async def culprit(core: Core) -> None:
        with core.locks.spin("pages", 1), core.locks.spin("program", 2):
            pass
        with core.locks.spin("program", 3), core.locks.spin("pages", 4):
            pass

    assert set((await watched(culprit)).cycle()) == {"pages", "program"}
