"""What counts where, beyond single events: bursts, closed channels, messages that are seen twice."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from guest.vmbus.channel import VmbusChannel
from guest.vmbus.policy import Policy
from guest.vmbus.words import CallbackMode
from protocol.wire.guids import HV_HEART_BEAT_GUID
from protocol.wire.messages import AllOffersDelivered
from tests.ground_truth.conftest import HEARTBEAT, STORVSC1, SUB_CHANNELS, MakeVm, ObservedVm, Opener


def test_fifty_heartbeats_and_100_disk_interrupts_count_on_their_rows_alone(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, sub_channels=True)
    hyp = vm.hyp()
    vm.signals(HEARTBEAT, 50)
    for relid, count in ((15, 25), (26, 24), (27, 25), (28, 24)):
        vm.signals(relid, count)
        assert vm.row(relid)[vm.target(relid)] == sum(vm.row(relid)) == count
    assert vm.row(HEARTBEAT) == [50, 0, 0, 0]
    assert vm.hyp() == hyp
    assert {relid for relid in SUB_CHANNELS if sum(vm.row(relid))} == {26, 27, 28}


def test_200_messages_alone_are_200_and_so_are_bursts(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    before = vm.hyp()
    for _ in range(200):
        vm.host.post(AllOffersDelivered())
        vm.step()
    assert vm.hyp() == before + 200
    for _ in range(10):
        for _ in range(20):
            vm.host.post(AllOffersDelivered())
        vm.step()
    assert vm.hyp() == before + 400


class Interrupted(Opener):
    """Its callback runs before the message tasklet, and is interrupted by the channel's next event."""

    mode = CallbackMode.DIRECT
    id_table: ClassVar[tuple[UUID, ...]] = (HV_HEART_BEAT_GUID,)
    vm: ObservedVm | None = None

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        vm, self.vm = self.vm, None
        if vm is not None:
            vm.host.signal(HEARTBEAT)
            vm.wires[0].deliver()
            vm.cores[0].poll()


def test_d10_a_message_still_in_its_slot_counts_again_with_the_next_event(observed: MakeVm) -> None:
    """The second interrupt finds the slot occupied because the tasklet has not come round to it."""
    vm = observed(Policy.RFC, driver=Interrupted)
    driver, hyp, messages = vm.driver(), vm.hyp(), sum(vm.tables.cpus[0].messages)
    assert isinstance(driver, Interrupted)
    for _ in range(200):
        driver.vm = vm
        vm.host.signal(HEARTBEAT)
        vm.host.post(AllOffersDelivered())
        vm.step()
    assert sum(vm.tables.cpus[0].messages) - messages == 200
    assert vm.hyp() - hyp == 400


def test_a_channel_s_events_on_a_cpu_it_is_not_bound_to_count_there_also_after_a_move(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.smp_affinity(STORVSC1, 0b1000)
    vm.settle()
    vm.signals(STORVSC1, 3, vp=1)
    vm.signals(STORVSC1, 2)
    assert vm.row(STORVSC1) == [0, 3, 0, 2]
    assert vm.driver(1).callbacks == 3
