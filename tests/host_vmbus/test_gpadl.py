"""GPADLs: described in pieces, used, and given back with a promise."""

import pytest

from host.vmbus.gpadls import MAX_PER_CHANNEL
from host.vmbus.opened import OpenedChannel
from host.vmbus.options import UNTIL_RELEASED, HostOptions, Step
from host.vmbus.server import OfferHandle
from protocol.errors import PeerError
from protocol.ids import GpadlId, Pfn, Relid
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.messages import (
    CloseChannel,
    GpadlBody,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    NtStatus,
    RelidReleased,
    Unload,
)
from tests.host_vmbus.conftest import RAM_PAGES, FakeDevice, Vm

ID = GpadlId(0xE1E10)
MANY = tuple(Pfn(pfn % RAM_PAGES) for pfn in range(60))
CREATED = GpadlCreated(Relid(1), ID, NtStatus.SUCCESS)
FAILED = GpadlCreated(Relid(1), ID, NtStatus.UNSUCCESSFUL)
TORNDOWN = GpadlTorndown(ID)
TEARDOWN = GpadlTeardown(Relid(1), ID)


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def vm(device: FakeDevice) -> Vm:
    vm = Vm()
    vm.server.offer(device)
    vm.server.offer(FakeDevice(instance=2))
    vm.connect()
    return vm


def pieces(relid: int = 1, id: GpadlId = ID) -> list[GpadlHeader | GpadlBody]:
    return split(Relid(relid), id, [GpaRange.whole_pages(MANY)])


def test_a_gpadl_is_created_after_its_last_piece(vm: Vm) -> None:
    header, first, second = pieces()
    vm.send(header)
    vm.send(first)
    assert vm.heard() == []
    vm.send(second)
    assert vm.heard() == [CREATED]


def test_one_message_is_enough_for_26_pages(vm: Vm) -> None:
    vm.describe(1, *range(26), gpadl=ID)
    assert vm.heard() == [CREATED]


def test_a_channel_has_so_many_gpadls_and_no_more_until_one_is_torn_down(vm: Vm) -> None:
    ids = [GpadlId(ID + number) for number in range(MAX_PER_CHANNEL)]
    for id in ids:
        vm.describe(1, 0, gpadl=id)
    one_more = GpadlId(ID + MAX_PER_CHANNEL)
    vm.heard()
    vm.describe(1, 0, gpadl=one_more)
    assert vm.complained() == ["GPADL_HEADER: channel 1 has 64 GPADLs: tear one down"]
    assert vm.heard() == [GpadlCreated(Relid(1), one_more, NtStatus.UNSUCCESSFUL)]
    vm.describe(2, 0, gpadl=one_more)
    vm.send(GpadlTeardown(Relid(1), ids[5]))
    vm.heard()
    vm.describe(1, 0, gpadl=ids[5])
    assert vm.heard() == [GpadlCreated(Relid(1), ids[5], NtStatus.SUCCESS)]


def test_a_guest_may_pad_its_messages_to_240_bytes(vm: Vm) -> None:
    for message in pieces():
        if isinstance(message, GpadlBody):
            message = GpadlBody(0, ID, message.words + (0,) * (28 - len(message.words)))
        vm.send(message)
    assert vm.heard() == [CREATED]


def test_two_channels_may_use_the_same_number(vm: Vm) -> None:
    vm.describe(1, 1, 2, gpadl=ID)
    vm.describe(2, 1, 2, gpadl=ID)
    assert vm.heard() == [CREATED, GpadlCreated(Relid(2), ID, 0)]


def test_but_not_while_both_are_in_progress_since_a_body_names_no_channel(vm: Vm) -> None:
    header, *bodies = pieces()
    vm.send(header)
    vm.send(pieces(relid=2)[0])
    assert vm.heard() == [GpadlCreated(Relid(2), ID, NtStatus.UNSUCCESSFUL)]
    for body in bodies:
        vm.send(body)
    assert vm.heard() == [CREATED]


def test_a_short_gpadl_may_have_the_number_of_one_in_progress_elsewhere(vm: Vm) -> None:
    vm.send(pieces()[0])
    vm.describe(2, 1, 2, gpadl=ID)
    assert vm.heard() == [GpadlCreated(Relid(2), ID, 0)]


def test_a_number_in_use_on_the_channel_is_refused_and_the_former_stays(vm: Vm) -> None:
    vm.describe(1, 1, 2, gpadl=ID)
    vm.describe(1, 3, 4, gpadl=ID)
    assert vm.heard() == [CREATED, FAILED]
    vm.send(TEARDOWN)
    assert vm.heard() == [TORNDOWN]


@pytest.mark.parametrize("relid", [0, 3, 5000])
def test_a_gpadl_for_an_unknown_channel_is_refused(vm: Vm, relid: int) -> None:
    vm.describe(relid, 1, 2, gpadl=ID)
    assert vm.heard() == [GpadlCreated(Relid(relid), ID, NtStatus.UNSUCCESSFUL)]


def test_a_body_that_continues_nothing_has_no_answer(vm: Vm) -> None:
    vm.send(pieces()[1])
    assert vm.heard() == []
    assert vm.complained() == ["GPADL_BODY: GPADL 0xe1e10 is not in progress"]


@pytest.mark.parametrize(
    "header",
    [
        GpadlHeader(Relid(1), ID, 8, 1, (0,)),
        GpadlHeader(Relid(1), ID, 16, 1, (4096 | 4096 << 32, 1)),
        GpadlHeader(Relid(1), ID, 16, 1, (8192, 1)),
        GpadlHeader(Relid(1), ID, 16, 2, (4096, 1)),
        GpadlHeader(Relid(1), ID, 15, 1, (4096, 1)),
        GpadlHeader(Relid(1), ID, 16, 1, (4096, RAM_PAGES)),
        GpadlHeader(Relid(1), ID, 16, 1, (4096, 1 << 63)),
    ],
    ids=["nothing", "offset", "pages missing", "range missing", "no words", "no such page", "no such page at all"],
)
def test_ranges_that_describe_no_memory_are_refused(vm: Vm, header: GpadlHeader) -> None:
    vm.send(header)
    assert vm.heard() == [FAILED]
    vm.describe(1, 1, 2, gpadl=ID)
    assert vm.heard() == [CREATED]


def test_bad_ranges_found_in_the_last_body_are_refused_and_the_number_is_free(vm: Vm) -> None:
    vm.send(GpadlHeader(Relid(1), ID, 8 * 28, 1, (4096 * 60, *MANY[:26])))
    vm.send(GpadlBody(0, ID, (1,)))
    assert vm.heard() == [FAILED]
    for message in pieces():
        vm.send(message)
    assert vm.heard() == [CREATED]


def test_teardown_of_what_is_not_used_is_answered_at_once(vm: Vm) -> None:
    vm.describe(1, 1, 2, gpadl=ID)
    vm.send(TEARDOWN)
    assert vm.heard() == [CREATED, TORNDOWN]


@pytest.mark.parametrize("relid", [1, 2, 9])
def test_teardown_of_what_is_not_there_has_no_answer(vm: Vm, relid: int) -> None:
    vm.send(GpadlTeardown(Relid(relid), ID))
    assert vm.heard() == []
    assert len(vm.complained()) == 1


def test_teardown_while_in_progress_has_no_answer(vm: Vm) -> None:
    header, *bodies = pieces()
    vm.send(header)
    vm.send(TEARDOWN)
    assert vm.heard() == []
    for body in bodies:
        vm.send(body)
    assert vm.heard() == [CREATED]


def test_the_rings_are_given_back_when_the_device_has_closed(vm: Vm, device: FakeDevice) -> None:
    device.slow = True
    vm.open(1, vm.describe(1, gpadl=ID))
    vm.heard()
    vm.send(TEARDOWN)
    vm.send(TEARDOWN)
    vm.send(CloseChannel(Relid(1)))
    assert vm.heard() == []
    assert vm.complained() == ["TEARDOWN in state TEARING_DOWN: the GPADL is not established"]
    device.finish()
    assert vm.heard() == [TORNDOWN]


def test_a_gpadl_being_torn_down_cannot_be_opened_on(vm: Vm, device: FakeDevice) -> None:
    device.slow = True
    vm.open(1, vm.describe(1, gpadl=ID))
    vm.send(CloseChannel(Relid(1)))
    vm.send(TEARDOWN)
    vm.open(1, ID)
    device.finish()
    assert vm.names()[-2:] == ["GPADL_TORNDOWN", "OPENCHANNEL_RESULT"]
    assert device.log == ["open", "close"]


def receive_buffer(vm: Vm, device: FakeDevice) -> OpenedChannel:
    vm.open(1)
    vm.describe(1, 1, 2, gpadl=ID)
    vm.heard()
    assert isinstance(device.channel, OpenedChannel)
    return device.channel


def test_a_buffer_is_given_back_when_the_device_has_let_go_of_it_as_often_as_it_took_it(
    vm: Vm, device: FakeDevice
) -> None:
    channel = receive_buffer(vm, device)
    assert channel.map_gpadl(ID) == (GpaRange.whole_pages((Pfn(1), Pfn(2))),)
    channel.map_gpadl(ID)
    vm.send(TEARDOWN)
    channel.unmap_gpadl(ID)
    assert vm.heard() == []
    channel.unmap_gpadl(ID)
    assert vm.heard() == [TORNDOWN]
    channel.unmap_gpadl(ID)


@pytest.mark.parametrize("close_first", [False, True])
def test_or_when_the_device_has_closed_whichever_the_guest_asks_for_first(
    vm: Vm, device: FakeDevice, close_first: bool
) -> None:
    receive_buffer(vm, device).map_gpadl(ID)
    requests = [TEARDOWN, CloseChannel(Relid(1))]
    for message in reversed(requests) if close_first else requests:
        vm.send(message)
    assert vm.heard() == [TORNDOWN]


def test_a_device_cannot_map_what_the_guest_has_not_established(vm: Vm, device: FakeDevice) -> None:
    channel = receive_buffer(vm, device)
    vm.send(TEARDOWN)
    with pytest.raises(PeerError):
        channel.map_gpadl(ID)


def held() -> tuple[Vm, OfferHandle]:
    vm = Vm(HostOptions(delay={Step.GPADL: UNTIL_RELEASED}))
    handle = vm.server.offer(FakeDevice())
    vm.connect()
    vm.describe(1, 1, 2, gpadl=ID)
    return vm, handle


def test_a_slow_host_answers_later() -> None:
    vm, _ = held()
    assert vm.heard() == []
    vm.server.release(Step.GPADL)
    assert vm.heard() == [CREATED]


def test_a_gpadl_that_is_still_looked_at_is_refused_before_its_channel_is_rescinded() -> None:
    vm, handle = held()
    handle.rescind()
    assert vm.names() == ["GPADL_CREATED", "RESCIND_CHANNELOFFER"]
    vm.server.release(Step.GPADL)
    assert vm.heard() == []


def test_a_gpadl_that_is_still_looked_at_when_its_channel_is_released_is_forgotten_in_silence() -> None:
    vm, _ = held()
    vm.send(RelidReleased(Relid(1)))
    vm.send(Unload())
    assert vm.heard() == []
    vm.server.release(Step.GPADL)
    assert vm.names() == ["UNLOAD_RESPONSE"]


def test_on_a_rescinded_channel_gpadls_are_accepted_unseen_and_given_back(vm: Vm) -> None:
    handle = vm.server.offer(FakeDevice(instance=3))
    header, *bodies = pieces(relid=3)
    vm.send(header)
    handle.rescind()
    vm.heard()
    for body in bodies:
        vm.send(body)
    vm.send(GpadlTeardown(Relid(3), ID))
    assert vm.heard() == [GpadlCreated(Relid(3), ID, 0), TORNDOWN]


def test_the_rings_of_a_rescinded_channel_are_given_back_when_its_device_has_closed() -> None:
    vm, device = Vm(), FakeDevice(slow=True)
    handle = vm.server.offer(device)
    vm.connect()
    vm.open(1, vm.describe(1, gpadl=ID))
    handle.rescind()
    vm.heard()
    vm.send(TEARDOWN)
    assert vm.heard() == []
    device.finish()
    assert vm.heard() == [TORNDOWN]


def test_releasing_a_channel_frees_its_numbers_without_a_word(vm: Vm) -> None:
    vm.describe(1, 1, 2, gpadl=ID)
    vm.send(pieces(1, GpadlId(5))[0])
    vm.heard()
    vm.send(RelidReleased(Relid(1)))
    assert vm.heard() == []
    vm.send(GpadlBody(0, GpadlId(5), (1,)))
    assert len(vm.complained()) == 1
    vm.server.offer(FakeDevice(instance=3))
    vm.describe(1, 1, 2, gpadl=ID)
    assert vm.names() == ["OFFERCHANNEL", "GPADL_CREATED"]


def test_a_number_that_an_old_device_still_holds_is_free_for_the_next_channel_with_that_relid(
    vm: Vm, device: FakeDevice
) -> None:
    device.slow = True
    vm.open(1, vm.describe(1, gpadl=ID))
    vm.send(CloseChannel(Relid(1)))
    vm.send(RelidReleased(Relid(1)))
    assert vm.server.offer(FakeDevice(instance=3)).relid == 1
    vm.heard()
    vm.open(1, ID)
    vm.describe(1, gpadl=ID)
    device.finish()
    vm.send(TEARDOWN)
    assert vm.names() == ["OPENCHANNEL_RESULT", "GPADL_CREATED", "GPADL_TORNDOWN"]
    assert vm.server.snapshot()[2].opens == 0
