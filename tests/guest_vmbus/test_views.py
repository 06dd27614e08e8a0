"""Each CPU makes its own view of a channel when it first looks; what is gone, no CPU sees again."""

from __future__ import annotations

import pytest

from guest.vmbus.errors import VmbusError
from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_SCSI_GUID
from protocol.wire.messages import CloseChannel, GpadlTeardown
from tests.guest_vmbus.conftest import HEARTBEAT, RING, Machine, MakeMachine, Unmatched

POLICIES = pytest.mark.parametrize("policy", list(Policy), ids=lambda policy: policy.value)
SUB = 21


def views(machine: Machine, cpu: int) -> dict[int, object]:
    """What this CPU has made, without making more."""
    return machine.systems[cpu].bus.channels._by_relid  # type: ignore[return-value]


@POLICIES
def test_an_interrupt_on_a_cpu_that_never_looked_reaches_the_driver_there(vm: MakeMachine, policy: Policy) -> None:
    machine = vm(2, policy)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    assert not views(machine, 1)
    machine.host.channels[HEARTBEAT].target_vp = 1  # type: ignore[assignment]
    machine.host.send(HEARTBEAT, b"far side")
    machine.step()
    assert machine.driver(1).received == [(HEARTBEAT, b"far side")]
    assert list(views(machine, 1)) == [HEARTBEAT]


@POLICIES
def test_a_relid_that_is_offered_again_is_another_channel_on_every_cpu(vm: MakeMachine, policy: Policy) -> None:
    machine = vm(2, policy)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    former = [machine.channel(HEARTBEAT, cpu) for cpu in range(2)]
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert not views(machine, 0) and not views(machine, 1)
    machine.host.offer(HEARTBEAT, HV_MOUSE_GUID)
    machine.settle()
    for cpu in range(2):
        channel = machine.channel(HEARTBEAT, cpu)
        assert channel.offer.class_id == HV_MOUSE_GUID
        assert channel.listed and not former[cpu].listed


def test_a_channel_that_is_opened_again_has_the_new_rings_on_every_cpu(vm: MakeMachine) -> None:
    machine = vm(2, Policy.LEGACY, driver=Unmatched)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    assert machine.bind(HEARTBEAT)
    assert machine.channel(HEARTBEAT, 1).send_packet(b"first rings, say")
    machine.unbind(HEARTBEAT)
    assert machine.bind(HEARTBEAT)
    assert machine.channel(HEARTBEAT, 1).send_packet(b"the second rings")
    assert machine.host.read(HEARTBEAT) == [b"the second rings"]


def test_of_rings_that_are_gone_no_count_is_kept(vm: MakeMachine) -> None:
    machine = vm(2, Policy.LEGACY)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    channels = machine.systems[1].bus.channels
    for _ in range(3):
        assert machine.channel(HEARTBEAT, 1).send_packet(b"from the far CPU")
        (gpadl,) = channels.ring_bytes()
        channels.forget_all()
        assert list(channels.ring_bytes()) == [gpadl], "the next view goes on with them"
        assert machine.channel(HEARTBEAT, 1).send_packet(b"from the far CPU")
        machine.host.rescind(HEARTBEAT)
        machine.settle()
        assert not channels.ring_bytes()
        machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
        machine.settle()


def test_rings_that_a_failed_close_left_to_the_host_are_not_those_of_the_next_open(vm: MakeMachine) -> None:
    machine = vm(2, Policy.LEGACY, driver=Unmatched)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    channel = machine.channel(HEARTBEAT)
    machine.do(channel.open(RING, RING))
    assert machine.channel(HEARTBEAT, 1).send_packet(b"first rings, say")
    post = machine.bus.poster.post

    async def fails(message: object) -> None:
        raise VmbusError(5, "not posted")

    machine.bus.poster.post = fails  # type: ignore[method-assign]
    machine.do(channel.close())
    machine.bus.poster.post = post  # type: ignore[method-assign]
    assert not any(isinstance(message, CloseChannel | GpadlTeardown) for message in machine.host.seen)
    machine.do(channel.open(RING, RING))
    assert machine.channel(HEARTBEAT, 1).send_packet(b"the second rings")
    assert machine.host.read(HEARTBEAT) == [b"the second rings"]


@POLICIES
def test_the_words_say_where_the_rings_are_until_every_cpu_has_let_go(vm: MakeMachine, policy: Policy) -> None:
    """A CPU that has begun to map them reads the words that say where, while another CPU closes the channel."""
    machine = vm(2, policy, driver=Unmatched)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    channel, late = machine.channel(HEARTBEAT), machine.channel(HEARTBEAT, 1)
    machine.do(channel.open(RING, RING))
    first, free = channel.words.ring_pfn, machine.cores[0].pages.free_pages()
    busy: list[tuple[int, int, bool]] = []
    let_go = late.unmap_rings

    def unmap_rings() -> None:
        busy.append((channel.words.ring_pfn, machine.cores[0].pages.free_pages(), bool(channel.words.ring_init)))
        let_go()

    assert late.mapped
    late.unmap_rings = unmap_rings  # type: ignore[method-assign]
    machine.do(channel.close())
    assert busy == [(first, free, False)]
    assert channel.words.ring_pfn == 0 and machine.cores[0].pages.free_pages() == free + 4
    assert not late.mapped


@POLICIES
def test_a_sub_channel_that_outlives_its_primary_harms_no_cpu_that_never_looked(
    vm: MakeMachine, policy: Policy
) -> None:
    machine = vm(3, policy)
    machine.host.offer(10, HV_SCSI_GUID)
    machine.boot()
    machine.host.offer(SUB, HV_SCSI_GUID, 1, instance=10)
    machine.settle()
    machine.host.rescind(10)
    machine.settle()
    assert machine.tables.channels[SUB].live and not machine.tables.channels[10].live
    assert not views(machine, 2)
    machine.host.signal(SUB, vp=2)
    machine.settle()
    assert machine.tables.cpus[2].no_callback == 1
    machine.host.rescind(SUB)
    machine.settle()
    assert not any(views(machine, cpu) for cpu in range(3))


def test_an_irq_has_a_name_of_one_line(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    channel = machine.channel(HEARTBEAT, 0)
    with pytest.raises(VmbusError, match="use characters that can be printed"):
        channel.irq_name = "two\nlines"
    assert channel.irq_name == "heartbeat"
