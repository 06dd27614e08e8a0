"""Moving a channel's IRQ: the writes to smp_affinity that were tried on a patched kernel, in the same order."""

from __future__ import annotations

import errno

import pytest

from guest.irq.affinity import irq_set_affinity
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from protocol.ids import Irq
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_SCSI_GUID
from protocol.wire.messages import ModifyChannel, ModifyChannelResponse
from protocol.wire.versions import Version
from tests.guest_vmbus.conftest import HEARTBEAT, Machine, MakeMachine

DISK, MOUSE = 14, 3


def booted(vm: MakeMachine, **how: object) -> Machine:
    machine = vm(4, Policy.RFC, **how)
    machine.host.offer(DISK, HV_SCSI_GUID)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(MOUSE, HV_MOUSE_GUID)
    machine.boot()
    return machine


def write(machine: Machine, relid: int, mask: int) -> tuple[int, int, int, list[int]]:
    """(smp_affinity, effective, target CPU, VPs named in MODIFYCHANNEL) after moving to ``mask``."""
    machine.host.seen.clear()
    irq = Irq(machine.irq(relid))
    irq_set_affinity(machine.systems[0].irq, irq, mask)
    machine.settle()
    desc = machine.systems[0].irq.desc(irq)
    moves = [int(m.target_vp) for m in machine.host.seen if isinstance(m, ModifyChannel)]
    return desc.affinity, desc.effective_affinity, machine.tables.channels[relid].target_cpu, moves


def refused(machine: Machine, relid: int, mask: int) -> int:
    with pytest.raises(OSError) as failure:
        write(machine, relid, mask)
    assert failure.value.errno is not None
    return failure.value.errno


def test_after_open_the_irq_is_bound_to_its_target(vm: MakeMachine) -> None:
    machine = booted(vm)
    desc = machine.systems[0].irq.desc(Irq(machine.irq(DISK)))
    assert (desc.affinity, desc.effective_affinity, desc.affinity_hint) == (1, 1, 1)
    assert machine.host.names().count("MODIFYCHANNEL") == 0


def test_the_writes_of_a_real_session_have_the_same_effect_here(vm: MakeMachine) -> None:
    machine = booted(vm)
    for mask, effective, target, moves in [
        (0x2, 0x2, 1, [1]),
        (0xF, 0x2, 1, []),
        (0x6, 0x2, 1, []),
        (0xC, 0x4, 2, [2]),
        (0xC, 0x4, 2, []),
        (0xE, 0x4, 2, []),
        (0x3, 0x1, 0, [0]),
        (0x8, 0x8, 3, [3]),
        (0x6, 0x2, 1, [1]),
        (0x9, 0x8, 3, [3]),
    ]:
        assert write(machine, DISK, mask) == (mask, effective, target, moves), f"mask {mask:x}"
    assert machine.systems[0].irq.desc(Irq(machine.irq(DISK))).affinity_hint == 1, "the hint stays"
    connection = machine.tables.connection
    assert connection.modchan_sent == connection.modchan_completed == 6


def test_a_channel_that_is_not_open_stays_but_the_attempt_moves_the_rotor(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert refused(machine, MOUSE, 0x4) == errno.EIO
    assert write(machine, MOUSE, 0x1)[1:] == (1, 0, []), "where it is it may stay"
    assert write(machine, DISK, 0xE)[2] == 3


def test_below_4_1_a_channel_cannot_move(vm: MakeMachine) -> None:
    machine = booted(vm, versions=(Version.WIN10,))
    assert refused(machine, DISK, 0x2) == errno.EINVAL
    assert write(machine, DISK, 0x3) == (3, 1, 0, [])


def test_a_cpu_without_a_synic_is_no_target(vm: MakeMachine) -> None:
    machine = booted(vm)
    machine.tables.connection.synic_online &= ~0b0010
    assert refused(machine, DISK, 0x2) == errno.EINVAL
    assert write(machine, DISK, 0x6)[2] == 2


def test_isolated_cpus_are_left_out_and_the_connect_cpu_keeps_what_is_bound_to_it(vm: MakeMachine) -> None:
    machine = booted(vm, topology=Topology((0xF,), housekeeping=0b1110))
    assert machine.channel(DISK).target_cpu == 1
    desc = machine.systems[0].irq.desc(Irq(machine.irq(HEARTBEAT)))
    assert (desc.affinity, desc.effective_affinity, desc.affinity_hint) == (0xF, 0, 1)
    assert refused(machine, HEARTBEAT, 0x1) == errno.EINVAL
    assert write(machine, HEARTBEAT, 0x4) == (4, 4, 2, [2])


def test_a_refusal_of_the_host_is_logged_and_believed_to_be_a_success(vm: MakeMachine) -> None:
    """Defect D12 of the series as posted."""
    machine = booted(vm)
    machine.host.silent.add(ModifyChannel)
    assert write(machine, HEARTBEAT, 0x2) == (2, 2, 1, [1])
    machine.host.post(ModifyChannelResponse(HEARTBEAT, 0xC000000D))
    machine.settle()
    assert machine.log[-1] == "hv_vmbus: Error status c000000d in MODIFYCHANNEL response for relid 7"
    assert machine.channel(HEARTBEAT).target_cpu == 1


def test_a_moved_perf_channel_marks_its_new_cpu_and_gives_back_its_old(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert machine.tables.numa[0].allocated == 0b0001
    write(machine, DISK, 0x4)
    assert machine.tables.numa[0].allocated == 0b0100


def test_after_a_move_the_interrupt_is_taken_and_counted_on_the_new_cpu(vm: MakeMachine) -> None:
    machine = booted(vm)
    write(machine, DISK, 0x8)
    machine.host.send(DISK, b"over one")
    machine.step()
    assert machine.row(DISK) == [0, 0, 0, 1]
    assert machine.driver(3).received == [(DISK, b"over one")]
