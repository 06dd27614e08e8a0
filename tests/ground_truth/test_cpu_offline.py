"""CPUs going offline and coming back (``hv_synic_cleanup``, ``hv_synic_init``; RFC patches 11 and 12)."""

from __future__ import annotations

import errno

import pytest

from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_SCSI_GUID
from protocol.wire.messages import ModifyChannel
from protocol.wire.synic import CONTROL_ENABLE, MESSAGE_SINT, Register, SintConfig
from protocol.wire.versions import Version
from tests.ground_truth.conftest import HEARTBEAT, MOUSE, STORVSC0, STORVSC1, MakeVm, ObservedVm

FREE, BUSY = 2, 1
"""A CPU that no channel interrupts, and the one that storvsc1 has."""


def synic_is_on(vm: ObservedVm, cpu: int) -> bool:
    port = vm.ports[cpu]
    sint = SintConfig.decode(port.read_register(Register.sint(MESSAGE_SINT)))
    pages = [port.read_register(register) & 1 for register in (Register.SIMP, Register.SIEFP)]
    enabled = port.read_register(Register.SCONTROL) & CONTROL_ENABLE
    assert {bool(enabled), *map(bool, pages), not sint.masked} in ({True}, {False}), "all or nothing"
    return bool(enabled)


def test_a_cpu_without_channels_goes_and_its_synic_is_off(each: ObservedVm) -> None:
    assert each.online(FREE, "0") == 0
    assert each.log[-1] == "smpboot: CPU 2 is now offline"
    assert each.systems[0].cpus.online == 0b1011
    assert each.tables.connection.synic_online == 0b1011
    assert each.partition.signal(each.ports[FREE].vp, MESSAGE_SINT, HEARTBEAT) is False, "the host cannot signal it"
    assert not synic_is_on(each, FREE)
    assert each.ports[FREE].flag_words(MESSAGE_SINT) is None
    assert each.interrupts().splitlines()[0].split() == ["CPU0", "CPU1", "CPU3"]


def test_it_comes_back_without_any_channel_and_takes_one_when_asked(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    targets = [words.target_cpu for words in vm.tables.channels]
    assert (vm.online(FREE, "0"), vm.online(FREE, "1")) == (0, 0)
    assert [words.target_cpu for words in vm.tables.channels] == targets, "no channel moves back"
    assert synic_is_on(vm, FREE) and vm.tables.connection.synic_online == 0b1111
    assert vm.smp_affinity(HEARTBEAT, 1 << FREE) == 0
    vm.settle()
    vm.host.send(HEARTBEAT, b"over here")
    vm.settle()
    assert vm.row(HEARTBEAT) == [0, 0, 1, 0]
    assert vm.received(FREE) == [(HEARTBEAT, b"over here")]


def test_a_write_that_changes_nothing_is_a_success_and_nonsense_is_einval(each: ObservedVm) -> None:
    before = list(each.log)
    assert each.online(FREE, "1") == 0
    assert each.log == before
    assert each.online(FREE, "maybe") == errno.EINVAL
    assert each.online(FREE, "off") == 0
    assert each.online(FREE, "0") == 0
    assert each.log[len(before) :] == ["smpboot: CPU 2 is now offline"]


def test_a_cpu_with_an_open_channel_stays_and_nothing_has_changed(each: ObservedVm) -> None:
    before = list(each.log)
    assert each.online(BUSY, "0") == errno.EBUSY
    assert each.log == before, "no log line"
    assert each.systems[0].cpus.online == each.tables.connection.synic_online == 0b1111
    assert synic_is_on(each, BUSY)
    each.host.send(STORVSC1, b"still here")
    each.settle()
    assert each.received(BUSY) == [(STORVSC1, b"still here")]


def test_so_does_one_whose_channel_is_closed_or_was_never_opened(each: ObservedVm) -> None:
    each.unbind(STORVSC1)
    assert each.online(BUSY, "0") == errno.EBUSY
    each.tables.channels[MOUSE].target_cpu = FREE
    assert each.online(FREE, "0") == errno.EBUSY


def test_the_connect_cpu_stays(each: ObservedVm) -> None:
    """There is no file for CPU 0 on x86; the teardown refuses it all the same, even if it interrupts no channel."""
    for words in each.tables.channels:
        words.target_cpu = words.target_cpu or BUSY
    assert each.attempt(each.systems[1].hotplug.cpu_down(each.cores[0].cpu), cpu=1) == errno.EBUSY
    assert synic_is_on(each, 0)


def test_a_bit_that_nobody_handles_keeps_the_cpu_until_an_interrupt_comes(each: ObservedVm) -> None:
    each.stray_bit(FREE, HEARTBEAT)
    before = list(each.log)
    assert each.online(FREE, "0") == errno.EBUSY
    rfc = each.bus.policy is Policy.RFC
    assert each.log[len(before) :] == (["hv_vmbus: Events pending when trying to offline CPU 2"] if rfc else [])
    assert each.tables.connection.synic_online == 0b1111
    each.vector(FREE)
    assert each.tables.channels[HEARTBEAT].interrupts == 1
    if rfc:
        assert each.row(HEARTBEAT) == [0, 0, 1, 0]
    assert each.online(FREE, "0") == 0


def test_bit_0_keeps_nobody(each: ObservedVm) -> None:
    each.stray_bit(FREE, 0)
    assert each.online(FREE, "0") == 0


def test_below_4_1_bits_are_not_looked_at(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, versions=(Version.WIN10,))
    vm.stray_bit(FREE, HEARTBEAT)
    assert vm.online(FREE, "0") == 0
    assert vm.online(BUSY, "0") == errno.EBUSY, "a channel that cannot be moved keeps its CPU for ever"


def test_a_move_at_the_last_minute_is_waited_for(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.modify_after = 0.015
    assert vm.smp_affinity(STORVSC1, 1) == 0
    assert vm.online(BUSY, "0") == 0
    assert vm.log[-1] == "smpboot: CPU 1 is now offline"
    assert not any("Timed out" in line for line in vm.log)
    assert vm.host.channels[STORVSC1].target_vp == 0, "the host had moved it before the SynIC went off"


def test_an_offer_that_comes_meanwhile_waits_and_is_not_given_the_cpu_that_goes(observed: MakeVm) -> None:
    """cpus_read_lock in vmbus_process_offer: the choice of a CPU must not come between the walk and the end."""
    vm = observed(Policy.RFC)
    vm.host.modify_after = 0.035
    assert vm.smp_affinity(STORVSC1, 1) == 0
    gone = vm.start_offline(BUSY)
    vm.host.offer(23, HV_SCSI_GUID, sub=1, instance=STORVSC0)
    vm.pass_time(0.01)
    assert vm.bus.channels.get(23) is None
    vm.settle()
    assert gone == [0]
    assert vm.target(23) == FREE, "it would have been CPU 1's turn"


def strand(vm: ObservedVm) -> bool:
    """R1: a packet comes between the offline and the host's move. Whether the ring never drains."""
    assert vm.smp_affinity(STORVSC1, 1) == 0
    assert vm.online(BUSY, "0") == 0
    assert vm.host.send(STORVSC1, b"to the old CPU") is False, "its SynIC is off"
    vm.settle()
    assert vm.host.channels[STORVSC1].target_vp == 0, "the host has come round to it"
    assert vm.host.send(STORVSC1, b"another") is False, "the ring is not empty, so there is no edge"
    vm.settle()
    return not vm.received(0)


def test_r1_a_host_slower_than_the_wait_strands_the_channel_and_one_line_says_so(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.modify_after = 1.0
    before = list(vm.log)
    assert strand(vm)
    assert vm.log[len(before) :] == [
        "hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU 1 sent 1 completed 0",
        "smpboot: CPU 1 is now offline",
    ]
    vm.signals(STORVSC1, 1)
    assert vm.received(0) == [(STORVSC1, b"to the old CPU"), (STORVSC1, b"another")], "one signal drains it"


def test_r1_below_5_3_nothing_says_so(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, versions=(Version.V5_2,))
    vm.host.modify_after = 0.3
    before = list(vm.log)
    assert strand(vm)
    assert vm.log[len(before) :] == ["smpboot: CPU 1 is now offline"]


def test_d9_an_answer_in_the_last_pause_is_called_a_time_out(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.modify_after = 0.045
    assert vm.smp_affinity(STORVSC1, 1) == 0
    assert vm.online(BUSY, "0") == 0
    assert "hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU 1 sent 1 completed 1" in vm.log


def test_d5_a_host_that_once_did_not_answer_is_waited_for_at_every_offline(observed: MakeVm) -> None:
    """The counters never meet again; every CPU that goes offline says so, and goes."""
    vm = observed(Policy.RFC)
    vm.host.silent.add(ModifyChannel)
    vm.smp_affinity(HEARTBEAT, 2)
    vm.smp_affinity(HEARTBEAT, 1)
    vm.host.silent.clear()
    vm.smp_affinity(STORVSC1, 1)
    vm.settle()
    for cpu in (1, 2):
        assert vm.online(cpu, "0") == 0
        assert f"hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU {cpu} sent 3 completed 1" in vm.log


def test_d12_the_real_target_of_a_refused_move_goes_offline_and_strands_the_channel(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.modify_status = 0xC000000D
    assert vm.smp_affinity(STORVSC1, 1) == 0
    vm.settle()
    assert vm.log[-1] == "hv_vmbus: Error status c000000d in MODIFYCHANNEL response for relid 15"
    assert vm.target(STORVSC1) == 0
    assert vm.host.channels[STORVSC1].target_vp == 1
    vm.host.modify_status = 0
    assert vm.online(1, "0") == 0
    assert vm.host.send(STORVSC1, b"lost") is False
    moves = vm.moves()
    assert vm.smp_affinity(STORVSC1, 1) == 0
    vm.settle()
    assert vm.moves() == moves, "the guest believes that it is there"
    assert not any(vm.received(cpu) for cpu in range(4))


def test_what_came_and_went_meanwhile_is_known_when_the_cpu_is_back(each: ObservedVm) -> None:
    assert each.online(FREE, "0") == 0
    each.host.rescind(HEARTBEAT)
    each.settle()
    each.host.offer(HEARTBEAT, HV_SCSI_GUID, instance=99)
    each.host.offer(20, HV_HEART_BEAT_GUID)
    each.settle()
    assert each.online(FREE, "1") == 0
    here, there = (each.systems[cpu].bus.channels for cpu in (FREE, 0))
    assert sorted(channel.relid for channel in here) == sorted(channel.relid for channel in there)
    assert here[HEARTBEAT].offer == there[HEARTBEAT].offer, "the relid is another channel's now"
    each.host.channels[20].outgoing.put(6, b"first")
    each.host.channels[20].outgoing.commit()
    each.signals(20, 1, vp=FREE)
    assert each.received(FREE) == [(20, b"first")]


def test_an_offline_cpu_gets_no_calls_and_takes_no_interrupts(each: ObservedVm) -> None:
    assert each.online(FREE, "0") == 0
    stat = each.systems[0].irq_tables.arch_stat[FREE]
    before = (stat.cal, stat.res, each.ports[FREE].counts.ipis)
    each.unbind(STORVSC0)
    each.bind(STORVSC0)
    each.cores[0].reschedule(each.cores[FREE].cpu)
    each.step()
    assert (stat.cal, stat.res, each.ports[FREE].counts.ipis) == before


def test_a_cpu_with_tasks_stays_and_its_synic_is_turned_on_again(each: ObservedVm) -> None:
    """A later step refuses, so the earlier ones are rolled forward, through hv_synic_init."""

    async def program() -> None:
        await each.cores[FREE].sleep(1000)

    each.cores[FREE].sched.spawn(program(), "pattern")
    each.step()
    assert each.online(FREE, "0") == errno.EBUSY
    assert each.log[-1] == "CPU 2 stays online for its tasks: pattern"
    assert synic_is_on(each, FREE)
    assert each.tables.connection.synic_online == 0b1111


def test_a_sub_channel_finds_its_primary_on_a_cpu_that_comes_back(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.offer(2, HV_SCSI_GUID, sub=1, instance=STORVSC0)
    vm.settle()
    assert vm.target(2) == FREE
    vm.smp_affinity(2, 1)
    vm.settle()
    assert (vm.online(FREE, "0"), vm.online(FREE, "1")) == (0, 0)
    channels = vm.systems[FREE].bus.channels
    assert channels[2].primary is channels[STORVSC0]
    assert channels[STORVSC0].sub_channels == [channels[2]]


@pytest.mark.parametrize("policy", list(Policy))
def test_a_cpu_can_go_and_come_many_times(observed: MakeVm, policy: Policy) -> None:
    vm = observed(policy)
    for _ in range(20):
        assert (vm.online(FREE, "0"), vm.online(3, "0")) == (0, 0)
        assert (vm.online(3, "1"), vm.online(FREE, "1")) == (0, 0)
    assert vm.systems[0].cpus.online == 0b1111
    vm.signals(HEARTBEAT, 1, vp=FREE)
    assert vm.tables.channels[HEARTBEAT].interrupts == 1
