"""Races around a CPU that goes offline, by schedule; named as in the analysis of the series."""

from __future__ import annotations

import errno

import pytest

from guest.vmbus.device import unbind
from host.vmbus.options import HostOptions, Step
from host.vmbus.tables.channel import ChannelState
from lab.failure import VmFailure
from lab.simulation.hub import Wait
from tests.ground_truth.hotplug_vm import DYING, HEARTBEAT, WRITER, HotplugVM

SEEDS = 10


async def soak(seed: int) -> HotplugVM:
    """Two writers at once: the heartbeat to CPU 1 and away, and CPU 1 off and on. Checks what must hold afterwards."""
    async with HotplugVM(seed) as vm:
        await vm.settled()
        vm.together(
            (WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b010 if n % 2 else 0b100), 60),
            (0, "online", lambda n: vm.online("1" if n % 2 else "0"), 30),
        )
        assert not await vm.stranded()
        report = await vm.report()
        assert [check for check in report.failed if "signals of" not in check.name] == [], "R8 may drop a count"
        target = vm.heartbeat.target_cpu
        assert target == vm.host_target, "I7"
        assert vm.guest.online >> target & 1 and vm.guest.vmbus.connection.synic_online >> target & 1, "I5"
        assert vm.guest.irq.descs[vm.heartbeat.irq].effective_affinity == 1 << target, "I6"
        assert vm.guest.online == vm.guest.vmbus.connection.synic_online
        assert not any("set affinity failed" in line for line in vm.printed()), "nothing is left to migrate"
        return vm


async def test_r4_a_cpu_is_chosen_or_it_goes_but_never_both() -> None:
    ends = []
    for seed in range(SEEDS):
        try:
            ends.append((await soak(seed)).errors)
        except VmFailure as failure:
            assert is_r6(failure), failure
    assert sum(end["online"][errno.EBUSY] for end in ends), "some find the channel there"
    assert sum(end["online"][0] for end in ends), "some go"
    assert sum(end["smp_affinity"][errno.EINVAL] for end in ends), "some cannot choose it any more"


def is_r6(failure: VmFailure) -> bool:
    text = str(failure)
    return text.startswith("deadlock") and "lock set_affinity_lock" in text and "lock desc" in text


async def test_r6_an_interrupt_on_the_dying_cpu_and_a_writer_wait_for_each_other() -> None:
    """D4: the teardown holds set_affinity_lock with interrupts on; the writer holds the descriptor's lock and wants it;
    the channel's interrupt on the dying CPU wants the descriptor's. lockdep says the same of a patched kernel."""
    async with HotplugVM(1) as vm:
        await vm.settled()
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b010), 1))
        vm.until(lambda: vm.host_target == DYING, "the move to the CPU that is to die")
        dying = vm.cpus[DYING]

        def during_the_walk(name: str) -> None:
            if name == "vmbus.offline.walk":
                vm.start((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b001), 1))
                vm.hub.block(Wait("the others", lambda: vm.writer_waits_for("set_affinity_lock") and vm.interrupt_due))
                dying.core.poll()

        dying.core.point = during_the_walk
        with pytest.raises(VmFailure) as failure:
            vm.together((0, "online", lambda n: vm.online("0"), 1))
        assert is_r6(failure.value)


async def test_without_the_patches_there_is_no_such_lock_and_no_such_deadlock() -> None:
    for seed in range(3):
        async with HotplugVM(seed, policy="legacy", time_scale=2e5) as vm:
            await vm.settled()
            vm.together((0, "online", lambda n: vm.online("1" if n % 2 else "0"), 20))
            assert vm.errors["online"] == {0: 20}
            assert not await vm.stranded()


async def test_r5_a_move_that_a_close_overtakes_is_never_answered_and_every_offline_waits_for_it() -> None:
    """D5: the writer has seen the channel open; the host gets its message after the close, and ignores it."""
    async with HotplugVM(1) as vm:
        await vm.settled()
        vm.host_options(HostOptions(answer_modify_of_closed=False))
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b010), 1))
        vm.until(lambda: vm.guest.vmbus.connection.modchan_completed == 1, "the first move")
        heartbeat, closed = vm.host.offers["heartbeat"], ChannelState.CLOSED

        def before_the_post(name: str) -> None:
            if name == "vmbus.affinity.opened":
                vm.cpus[0].enter(
                    lambda: vm.cpus[0].spawn(unbind(vm.cpus[0].guest.system.bus.channels[7].device), "rmmod")
                )
                vm.hub.block(Wait("the close", lambda: heartbeat.snapshot().state is closed))

        vm.cpus[WRITER].core.point = before_the_post
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b001), 1))
        assert vm.errors["smp_affinity"] == {0: 2}, "the writer is told that it has worked"
        for cpu in (DYING, WRITER):
            await vm.files.write(f"/sys/devices/system/cpu/cpu{cpu}/online", b"0")
            assert f"hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU {cpu} sent 2 completed 1" in vm.printed()


async def test_a_tasklet_that_was_scheduled_on_the_dying_cpu_runs_there_first() -> None:
    """Its interrupt is counted and its data is waiting: whoever has disabled the tasklet holds the CPU up."""
    async with HotplugVM(2) as vm:
        await vm.settled()
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b010), 1))
        vm.until(lambda: vm.host_target == DYING, "the first move")
        tasklet = vm.cpus[0].guest.system.bus.channels[HEARTBEAT].callback_event
        tasklet.disable()
        vm.until(lambda: bool(vm.cpus[DYING].core.softirqs), "an interrupt that schedules it")
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b001), 1))
        ended = vm.start((0, "online", lambda n: vm.online("0"), 1))
        await vm.pass_time(0.05)
        assert not ended
        tasklet.enable()
        vm.until(lambda: bool(ended), "the end of the offline")
        assert vm.errors["online"] == {0: 1}
        assert not await vm.stranded()


async def overtaken(seed: int, delay: float) -> tuple[bool, list[str]]:
    """The heartbeat leaves CPU 1, which then goes offline; the host moves it ``delay`` later. (stranded, log)."""
    async with HotplugVM(seed) as vm:
        await vm.settled()
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b010), 1))
        vm.until(lambda: vm.host_target == DYING, "the first move")
        await vm.pass_time(0.01)
        vm.host_options(HostOptions(delay={Step.MODIFY: delay}))
        vm.together((WRITER, "smp_affinity", lambda n: vm.smp_affinity(0b001), 1))
        assert vm.heartbeat.target_cpu == 0
        vm.together((0, "online", lambda n: vm.online("0"), 1))
        assert vm.errors["online"] == {0: 1}
        vm.until(lambda: vm.host_target == 0, "the late move")
        return await vm.stranded(), vm.printed()


@pytest.mark.parametrize("seed", range(3))
async def test_r1_only_a_host_slower_than_the_wait_of_patch_11_strands_the_channel(seed: int) -> None:
    stranded, log = await overtaken(seed, delay=0.004)
    assert not stranded
    assert not any("Timed out" in line for line in log)
    stranded, log = await overtaken(seed, delay=1.0)
    assert stranded
    assert "hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU 1 sent 2 completed 1" in log


async def test_the_equations_hold_with_a_cpu_offline_and_when_it_is_back() -> None:
    async with HotplugVM(4) as vm:
        await vm.settled()
        for text in (b"0", b"1") * 3:
            await vm.files.write("/sys/devices/system/cpu/cpu1/online", text)
            assert (await vm.report()).failed == []
