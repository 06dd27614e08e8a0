"""Packets both ways, by callback mode and by CPU; and no wake-up lost when a ring is full or masked."""

from __future__ import annotations

import pytest

from guest.vmbus.channel import VmbusChannel
from guest.vmbus.policy import Policy
from protocol.ids import PAGE_SIZE, Pfn
from protocol.ring import gpa_direct
from protocol.ring.memory import INTERRUPT_MASK, WRITE_INDEX
from protocol.wire.gpadl import GpaRange
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_NIC_GUID
from tests.guest_vmbus.conftest import (
    HEARTBEAT,
    DirectRecorder,
    IsrRecorder,
    Machine,
    MakeMachine,
    Recorder,
)


@pytest.fixture(params=list(Policy), ids=lambda policy: policy.value)
def policy(request: pytest.FixtureRequest) -> Policy:
    found: Policy = request.param
    return found


def with_heartbeat(vm: MakeMachine, policy: Policy, driver: type[Recorder] = Recorder) -> Machine:
    machine = vm(2, policy, driver=driver)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(13, HV_NIC_GUID)
    machine.boot()
    return machine


@pytest.mark.parametrize("driver", [Recorder, DirectRecorder, IsrRecorder])
def test_every_callback_mode_delivers_each_packet_once(vm: MakeMachine, policy: Policy, driver: type[Recorder]) -> None:
    machine = with_heartbeat(vm, policy, driver)
    sent = [number.to_bytes(8, "little") for number in range(30)]
    for number, payload in enumerate(sent):
        machine.host.send(HEARTBEAT, payload)
        if number % 3 == 0:
            machine.step()
    machine.step()
    assert machine.driver().received == [(HEARTBEAT, payload) for payload in sent]


@pytest.mark.parametrize(("driver", "masked"), [(Recorder, 1), (DirectRecorder, 0)])
def test_only_batched_mode_silences_the_host_until_it_has_looked_again(
    vm: MakeMachine, policy: Policy, driver: type[Recorder], masked: int
) -> None:
    machine = with_heartbeat(vm, policy, driver)
    words, seen = machine.tables.channels[HEARTBEAT], []
    control = machine.ram.page(words.ring_pfn + words.send_pages).cast("I")
    take = machine.driver().onchannel_callback

    def callback(channel: VmbusChannel) -> None:
        seen.append(control[INTERRUPT_MASK])
        take(channel)

    machine.driver().onchannel_callback = callback  # type: ignore[method-assign]
    machine.host.send(HEARTBEAT, b"what now")
    machine.step()
    assert seen == [masked]
    assert control[INTERRUPT_MASK] == 0


def test_what_comes_while_the_host_is_silenced_is_found_by_the_look_after_unmasking(
    vm: MakeMachine, policy: Policy
) -> None:
    machine = with_heartbeat(vm, policy)
    driver = machine.driver()
    take = driver.onchannel_callback
    late = [b"late one"]

    def callback(channel: VmbusChannel) -> None:
        take(channel)
        if late:
            assert not machine.host.send(HEARTBEAT, late.pop()), "masked: the host does not signal"

    driver.onchannel_callback = callback  # type: ignore[method-assign]
    machine.host.send(HEARTBEAT, b"in time ")
    machine.step()
    assert [payload for _, payload in driver.received] == [b"in time ", b"late one"]


def test_any_cpu_may_send_and_the_host_is_signalled_once_per_emptiness(vm: MakeMachine, policy: Policy) -> None:
    machine = with_heartbeat(vm, policy)
    for cpu in (0, 1, 1):
        assert machine.channel(HEARTBEAT, cpu).send_packet(bytes([cpu]) * 8)
    machine.step()
    assert machine.host.channels[HEARTBEAT].doorbells == 1
    assert machine.tables.channels[HEARTBEAT].events == 1
    assert machine.host.read(HEARTBEAT) == [bytes(8), b"\1" * 8, b"\1" * 8]
    machine.channel(HEARTBEAT, 1).send_packet(b"once more")
    assert machine.host.channels[HEARTBEAT].doorbells == 2


def test_guest_memory_is_described_to_the_host(vm: MakeMachine, policy: Policy) -> None:
    machine = with_heartbeat(vm, policy)
    ranges = [GpaRange(100, 8, (Pfn(500),)), GpaRange.whole_pages([Pfn(7), Pfn(9)])]
    machine.channel(HEARTBEAT).send_gpa_direct(ranges, b"request!", transaction_id=5, flags=1)
    headers: list[bytes] = []
    machine.host.channels[HEARTBEAT].incoming.drain(lambda packet: headers.append(packet.header))
    assert gpa_direct.parse(headers[0]) == tuple(ranges)
    assert ranges[1].byte_count == 2 * PAGE_SIZE


def test_a_full_ring_says_no_and_the_callback_comes_when_there_is_room(vm: MakeMachine, policy: Policy) -> None:
    machine = with_heartbeat(vm, policy)
    channel = machine.channel(HEARTBEAT, cpu=1)
    sent = 0
    while channel.send_packet(bytes(1000)):
        sent += 1
    machine.step()
    calls = machine.driver().callbacks
    assert len(machine.host.read(HEARTBEAT)) == sent
    machine.host.signal(HEARTBEAT)  # what release() asked the host to do
    machine.step()
    assert machine.driver().callbacks == calls + 1
    assert channel.send_packet(bytes(1000))


def test_a_small_packet_does_not_make_the_host_forget_who_waits_for_more_room(vm: MakeMachine, policy: Policy) -> None:
    machine = with_heartbeat(vm, policy)
    large, small = machine.channel(HEARTBEAT, 0), machine.channel(HEARTBEAT, 1)
    while large.send_packet(bytes(1000)):
        pass
    machine.step()
    calls = machine.driver(1).callbacks
    assert small.send_packet(bytes(8)), "there is room for little"
    machine.step()
    assert machine.driver(1).callbacks == calls + 1, "so those who wait look again, and wish again"


def test_a_host_that_corrupts_a_ring_loses_the_channel_and_nothing_else(vm: MakeMachine, policy: Policy) -> None:
    machine = with_heartbeat(vm, policy)
    words = machine.tables.channels[HEARTBEAT]
    machine.ram.page(words.ring_pfn + words.send_pages).cast("I")[WRITE_INDEX] = 0x12345
    machine.host.signal(HEARTBEAT)
    machine.host.send(13, b"still up")
    machine.step()
    assert machine.driver().received == [(13, b"still up")]
    assert "channel 7 is stopped: corrupt ring" in machine.log[-1]
