"""Offers, relids, rescind and re-offer."""

from uuid import UUID

import pytest

from host.vmbus.relids import LAST
from host.vmbus.tables.channel import ChannelState
from protocol.errors import OperatorError
from protocol.ids import Relid, VpIndex
from protocol.wire.messages import (
    AllOffersDelivered,
    CloseChannel,
    OfferChannel,
    OpenChannelResult,
    RelidReleased,
    RequestOffers,
    RescindChannelOffer,
    Unload,
)
from tests.host_vmbus.conftest import ALL_HELD, NET, SCSI, FakeDevice, Vm


def offers(vm: Vm) -> list[OfferChannel]:
    return [message for message in vm.heard() if isinstance(message, OfferChannel)]


def test_offers_come_in_the_order_given_with_the_lowest_relids_and_their_doorbells(vm: Vm) -> None:
    for instance in (3, 1, 2):
        vm.server.offer(FakeDevice(instance=instance))
    vm.contact()
    assert vm.names() == ["VERSION_RESPONSE"]
    vm.send(RequestOffers())
    *sent, last = vm.heard()
    assert last == AllOffersDelivered()
    assert [
        (offer.instance_id.int, offer.relid, offer.connection_id) for offer in sent if isinstance(offer, OfferChannel)
    ] == [(3, 1, 0x2001), (1, 2, 0x2002), (2, 3, 0x2003)]


def test_offers_are_requested_once_per_connection(vm: Vm) -> None:
    vm.server.offer(FakeDevice())
    vm.connect()
    vm.send(RequestOffers())
    assert vm.heard() == []
    assert vm.complained() == ["REQUESTOFFERS in state CONNECTED: offers were already requested on this connection"]


def test_a_device_offered_later_is_announced_at_once(vm: Vm) -> None:
    vm.connect()
    handle = vm.server.offer(FakeDevice())
    assert [offer.relid for offer in offers(vm)] == [1]
    assert handle.relid == 1


def test_a_device_offered_before_the_guest_asks_waits(vm: Vm) -> None:
    vm.contact()
    vm.heard()
    handle = vm.server.offer(FakeDevice())
    assert vm.heard() == []
    assert handle.relid is None


def test_a_pinned_relid_is_kept_free_for_its_device(vm: Vm) -> None:
    first = vm.server.offer(FakeDevice(instance=1))
    pinned = vm.server.offer(FakeDevice(instance=2), relid=Relid(1))
    third = vm.server.offer(FakeDevice(instance=3))
    vm.connect()
    assert (first.relid, pinned.relid, third.relid) == (2, 1, 3)


@pytest.mark.parametrize("relid", [0, LAST + 1, 7, 1])
def test_a_relid_that_cannot_be_pinned_is_the_operators_mistake(vm: Vm, relid: int) -> None:
    vm.server.offer(FakeDevice(instance=1), relid=Relid(7))
    vm.server.offer(FakeDevice(instance=2))
    vm.connect()
    with pytest.raises(OperatorError):
        vm.server.offer(FakeDevice(instance=3), relid=Relid(relid))


def test_more_channels_than_flags_are_refused(vm: Vm) -> None:
    handles = [vm.server.offer(FakeDevice(instance=instance)) for instance in range(LAST)]
    with pytest.raises(OperatorError, match="at most 2047"):
        vm.server.offer(FakeDevice(instance=9999))
    handles[0].rescind()
    vm.server.offer(FakeDevice(instance=9999))


def test_a_guid_pair_is_offered_once(vm: Vm) -> None:
    vm.server.offer(FakeDevice())
    with pytest.raises(OperatorError, match="already offered"):
        vm.server.offer(FakeDevice())


def test_an_offer_that_does_not_fit_the_wire_is_refused_when_it_is_made(vm: Vm) -> None:
    with pytest.raises(OperatorError):
        vm.server.offer(FakeDevice(sub_channel_index=0x10000))
    vm.connect()


def test_sub_channels_follow_their_primary(vm: Vm) -> None:
    with pytest.raises(OperatorError, match="primary"):
        vm.server.offer(FakeDevice(sub_channel_index=1))
    vm.server.offer(FakeDevice())
    vm.server.offer(FakeDevice(sub_channel_index=1))
    vm.connect()
    assert [snapshot.sub_channel_index for snapshot in vm.server.snapshot()] == [0, 1]


def test_a_relid_is_free_again_only_when_the_guest_says_so(vm: Vm) -> None:
    first = vm.server.offer(FakeDevice(instance=1))
    vm.connect()
    first.rescind()
    assert vm.heard() == [RescindChannelOffer(Relid(1))]
    assert vm.server.offer(FakeDevice(instance=2)).relid == 2
    vm.send(RelidReleased(Relid(1)))
    assert vm.server.offer(FakeDevice(instance=3)).relid == 1
    assert vm.complained() == []


def test_a_channel_that_the_guest_releases_unasked_comes_back_on_the_next_connection(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice())
    vm.connect()
    vm.send(RelidReleased(Relid(1)))
    assert handle.state is ChannelState.CLIENT_RELEASED
    assert vm.heard() == []
    vm.contact()
    vm.send(RequestOffers())
    assert vm.names() == ["VERSION_RESPONSE", "OFFERCHANNEL", "ALLOFFERS_DELIVERED"]


def test_rescinding_what_the_guest_never_saw_says_nothing(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice())
    handle.rescind()
    vm.connect()
    assert vm.server.snapshot() == ()
    assert handle.state is ChannelState.GONE


def test_rescind_closes_an_open_device_and_silences_it(vm: Vm) -> None:
    device = FakeDevice(slow=True)
    handle = vm.server.offer(device)
    vm.connect()
    vm.open(1)
    vm.heard()
    handle.rescind()
    handle.rescind()
    assert device.log == ["open", "close"]
    device.signal()
    assert vm.hypervisor.signals == []
    assert vm.names() == ["RESCIND_CHANNELOFFER"]


def test_what_the_guest_sent_before_it_saw_the_rescind_is_swallowed(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice())
    vm.connect()
    vm.open(1)
    handle.rescind()
    vm.heard()
    vm.send(CloseChannel(Relid(1)))
    ring = vm.describe(1)
    assert vm.names() == ["GPADL_CREATED"]
    vm.open(1, ring)
    assert vm.heard() == []
    assert vm.complained() == []


def test_rescind_is_behind_every_signal_that_the_channel_raised(vm: Vm) -> None:
    device = FakeDevice()
    handle = vm.server.offer(device)
    vm.connect(vp=0)
    vm.open(1, vp=3)
    device.signal()
    vm.heard()
    handle.rescind()
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset({3})]


def test_rescind_of_a_silent_channel_waits_for_nobody(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice())
    vm.connect()
    vm.open(1)
    vm.heard()
    handle.rescind()
    assert [sent.after for sent in vm.heard_envelopes()] == [frozenset()]


def test_rescind_while_opening_takes_the_place_of_the_result(vm: Vm) -> None:
    vm.server.options = ALL_HELD
    device = FakeDevice()
    handle = vm.server.offer(device)
    vm.connect()
    ring = vm.describe(1)
    vm.server.release()
    vm.open(1, ring)
    vm.heard()
    handle.rescind()
    vm.server.release()
    assert vm.names() == ["RESCIND_CHANNELOFFER"]
    assert device.log == ["open", "close"]


def test_a_reoffer_waits_for_the_guest_and_keeps_the_relid(vm: Vm) -> None:
    old, new = FakeDevice(), FakeDevice()
    handle = vm.server.offer(old)
    vm.connect()
    handle.rescind()
    vm.heard()
    again = vm.server.offer(new)
    assert vm.heard() == []
    assert again.state is ChannelState.REOFFERED
    vm.send(RelidReleased(Relid(1)))
    assert [offer.relid for offer in offers(vm)] == [1]
    vm.open(1)
    assert (old.log, new.log) == ([], ["open"])


def test_a_reoffered_device_is_not_opened_before_its_former_life_has_closed(vm: Vm) -> None:
    device = FakeDevice(slow=True)
    handle = vm.server.offer(device)
    vm.connect()
    vm.open(1)
    handle.rescind()
    vm.server.offer(device)
    vm.send(RelidReleased(Relid(1)))
    assert handle.state is ChannelState.CLOSING
    vm.open(1)
    vm.heard()
    assert device.log == ["open", "close"]
    device.finish()
    assert device.log == ["open", "close", "open"]
    assert vm.heard() == [OpenChannelResult(Relid(1), 77, 0)]


def test_a_device_offered_again_after_rescind_and_release_may_still_be_closing(vm: Vm) -> None:
    device = FakeDevice(slow=True)
    handle = vm.server.offer(device)
    vm.connect()
    vm.open(1)
    handle.rescind()
    vm.send(RelidReleased(Relid(1)))
    assert handle.state is ChannelState.DEPARTING
    again = vm.server.offer(device)
    assert again.state is ChannelState.CLOSING
    assert len(vm.server.snapshot()) == 1
    device.finish()
    vm.open(1)
    assert device.log == ["open", "close", "open"]


def test_a_reoffer_may_be_rescinded_before_the_guest_hears_of_it(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice())
    vm.connect()
    handle.rescind()
    vm.server.offer(FakeDevice()).rescind()
    vm.send(RelidReleased(Relid(1)))
    assert vm.names() == ["RESCIND_CHANNELOFFER"]
    assert vm.server.snapshot() == ()


def test_a_reoffer_keeps_the_pin_of_the_former_offer(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice(), relid=Relid(9))
    vm.connect()
    handle.rescind()
    with pytest.raises(OperatorError, match="leave the relid out"):
        vm.server.offer(FakeDevice(), relid=Relid(8))
    assert vm.server.offer(FakeDevice()).relid == 9


def test_unload_ends_a_rescinded_channel_and_a_reoffered_one_survives(vm: Vm) -> None:
    gone, back = vm.server.offer(FakeDevice(SCSI)), vm.server.offer(FakeDevice(NET))
    vm.connect()
    gone.rescind()
    back.rescind()
    vm.server.offer(FakeDevice(NET))
    vm.send(Unload())
    assert [(snapshot.class_id, snapshot.state) for snapshot in vm.server.snapshot()] == [
        (NET, ChannelState.CLIENT_RELEASED)
    ]
    vm.connect()
    assert back.relid == 1


def test_a_snapshot_says_what_a_report_needs(vm: Vm) -> None:
    device = FakeDevice(NET, instance=5)
    vm.server.offer(device)
    vm.connect()
    vm.open(1, vp=2)
    device.signal()
    device.signal()
    vm.hypervisor.synic_off.add(VpIndex(2))
    device.signal()
    vm.ring_doorbell(1)
    (snapshot,) = vm.server.snapshot()
    assert (snapshot.class_id, snapshot.instance_id, snapshot.relid) == (NET, UUID(int=5), 1)
    assert (snapshot.state, snapshot.target_vp) == (ChannelState.OPEN, 2)
    assert (snapshot.opens, snapshot.doorbells) == (1, 1)
    assert (snapshot.signals_raised, snapshot.signals_refused) == (2, 1)
