"""A guest that must not harm netvsp whatever it sends."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.vsp.net.nic import MAX_ANSWERS
from protocol.errors import PeerError
from protocol.ids import Pfn
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.gpadl import GpaRange
from protocol.wire.ndis import Oid, RssFlag, RssHash, RssParameters
from protocol.wire.nvsp_numbers import NO_SECTION, ChannelType, DataPath, NvspStatus, NvspType
from protocol.wire.rndis import IndicateStatus, KeepAlive, RndisStatus
from protocol.wire.rndis_packet import LargeSend, PacketInfo
from tests.vsp.netvsc import NetVsc, frame, message, refusal

KEY = bytes(40)


@pytest.fixture
def vsc(ram: GuestRam) -> NetVsc:
    ready = NetVsc(ram, queues=4)
    ready.complete_set_up()
    ready.up()
    return ready


def lives(vsc: NetVsc) -> bool:
    vsc.received.clear()
    assert vsc.send_section(0, message(frame(b"still here"))) == NvspStatus.SUCCESS
    return len(vsc.frames()) == 1


@pytest.mark.parametrize(
    ("index", "size"), [(4, 100), (2**31, 100), (0, 6145), (0, 2**32 - 1), (0, 0), (NO_SECTION, 9)]
)
def test_a_section_that_is_none_is_refused_and_completed(vsc: NetVsc, index: int, size: int) -> None:
    answer = vsc.request(nvsp.RndisPacket(ChannelType.DATA, index, size))
    assert refusal(answer) == (NvspType.SEND_RNDIS_PKT_COMPLETE, NvspStatus.FAIL)
    assert len(vsc.clock.complaints) == 1
    assert lives(vsc)


@pytest.mark.parametrize(
    "header",
    [
        encode([GpaRange(100, 0, (Pfn(2**40),))]),
        encode([GpaRange(100, 4090, (Pfn(255), Pfn(256)))]),
        encode([GpaRange(2**17 + 1, 0, tuple(map(Pfn, range(33))))]),
        encode([GpaRange(0, 0, ())]),
        encode([]),
    ],
)
def test_pages_that_are_none_are_refused_and_completed(vsc: NetVsc, header: bytes) -> None:
    answer = vsc.request(nvsp.RndisPacket(ChannelType.DATA), header)
    assert refusal(answer)[1] == NvspStatus.FAIL
    assert len(vsc.clock.complaints) == 1
    assert lives(vsc)


@pytest.mark.parametrize(
    "data",
    [
        b"short",
        bytes(40),
        message(frame(b"x" * 100))[:-1],
        message(b"13 bytes long"),
        message(frame(bytes(1505))),
        KeepAlive(1).encode(),
        message(frame(b"lso"), {PacketInfo.LARGE_SEND: LargeSend(1400, 34).encode()}),
        message(frame(b"checksum"), {PacketInfo.CHECKSUM: bytes(4)}),
    ],
)
def test_a_message_that_is_no_frame_spoils_none_in_front_of_it(vsc: NetVsc, data: bytes) -> None:
    good = message(frame(b"good" * 10))
    assert vsc.send_section(2, good + data) == NvspStatus.INVALID_RNDIS_PKT
    assert len(vsc.frames()) == 1
    assert len(vsc.clock.complaints) == 1
    assert lives(vsc)


def test_completions_that_nobody_asked_for_free_nothing(vsc: NetVsc) -> None:
    vsc.patient = True
    vsc.send_section(0, message(frame(b"a")))
    (got,) = vsc.received
    buffer = vsc.device.nic.receive_buffer
    assert buffer is not None
    before = buffer.free
    for id in (0, got.transaction_id + 1, 2**64 - 1):
        vsc.channels[0].send(PacketType.COMPLETION, bytes(8), id)
    assert buffer.free == before
    vsc.release(got)
    vsc.release(got)
    assert buffer.free == before + 1, "only once"
    assert len(vsc.clock.complaints) == 4


def test_a_completion_from_before_the_buffer_was_revoked_means_nothing(vsc: NetVsc) -> None:
    vsc.patient = True
    vsc.send_section(0, message(frame(b"a")))
    (got,) = vsc.received
    vsc.send(nvsp.RevokeReceiveBuffer(), asked=False)
    vsc.release(got)
    assert len(vsc.clock.complaints) == 1
    assert vsc.device.nic.deliver([frame(b"into the void")]) == 1


def test_a_guest_that_asks_and_asks_and_takes_no_answer_is_refused_in_the_end(vsc: NetVsc) -> None:
    vsc.patient = True
    statuses = [vsc.send_pages(KeepAlive(n).encode(), ChannelType.CONTROL) for n in range(200)]
    answered = statuses.count(NvspStatus.SUCCESS)
    assert answered == 16 + MAX_ANSWERS, "the control buffers, and as many again as may wait"
    assert set(statuses[answered:]) == {NvspStatus.INVALID_RNDIS_PKT}
    with pytest.raises(PeerError, match="takes none of 100"):
        vsc.device.set_link(False)
    while vsc.received:
        vsc.release(vsc.received.pop())
        vsc.take()
    vsc.device.set_link(False)
    vsc.take()
    assert IndicateStatus.decode(vsc.received[-1].messages[0]).status == RndisStatus.MEDIA_DISCONNECT
    vsc.patient = False
    assert lives(vsc)


@pytest.mark.parametrize(("operation", "count"), [(1, 4), (1, 2**32 - 1), (1, 0), (0, 1), (2, 1)])
def test_sub_channels_that_cannot_be_had_are_refused(vsc: NetVsc, operation: int, count: int) -> None:
    answer = nvsp.SubChannelComplete.decode(vsc.request(nvsp.SubChannelRequest(operation, count)))
    assert (answer.status, answer.count) == (NvspStatus.FAIL, 0)
    assert not vsc.offers.offered
    vsc.open_sub_channels(3)
    assert refusal(vsc.request(nvsp.SubChannelRequest(1, 1)))[1] == NvspStatus.FAIL, "not twice"
    assert lives(vsc)


def test_a_sub_channel_takes_frames_and_nothing_else(vsc: NetVsc) -> None:
    vsc.open_sub_channels(3)
    for request in (nvsp.Init(2, 2), nvsp.SubChannelRequest(1, 1), nvsp.RevokeReceiveBuffer()):
        assert refusal(vsc.request(request, index=1))[1] == NvspStatus.FAIL
    assert vsc.send_pages(KeepAlive(1).encode(), ChannelType.CONTROL, index=1) == NvspStatus.INVALID_RNDIS_PKT
    assert len(vsc.clock.complaints) == 4
    assert lives(vsc)


def test_a_sub_channel_that_outlives_the_primary_carries_nothing(vsc: NetVsc) -> None:
    vsc.open_sub_channels(3)
    sub_channel = vsc.channels[1]
    vsc.device.close(lambda: None)
    assert not vsc.offers.offered
    sub_channel.send(PacketType.IN_BAND, nvsp.RndisPacket(0, 0, 60).encode(), 5, COMPLETION_REQUESTED)
    (packet,) = (each for each in sub_channel.receive() if each.type == PacketType.COMPLETION)
    assert nvsp.RndisPacketComplete.decode(packet.payload).status == NvspStatus.FAIL


@pytest.mark.parametrize(
    ("table", "key", "over"),
    [
        ((), KEY, RssHash.TOEPLITZ),
        ((0, 1, 2), KEY, RssHash.TOEPLITZ),
        ((0, 4), KEY, RssHash.TOEPLITZ),
        ((0, 1), KEY[1:], RssHash.TOEPLITZ),
        ((0, 1), KEY, RssHash.IPV4),
    ],
)
def test_rss_parameters_that_make_no_sense_are_refused(
    vsc: NetVsc, table: tuple[int, ...], key: bytes, over: RssHash
) -> None:
    value = RssParameters(RssFlag(0), over, table, key).encode()
    assert vsc.set(Oid.GEN_RECEIVE_SCALE_PARAMETERS, value) == RndisStatus.INVALID_DATA
    assert not vsc.device.nic.rss.parameters.table


def test_there_is_no_virtual_function_to_switch_to(vsc: NetVsc) -> None:
    assert refusal(vsc.request(nvsp.SwitchDataPath(DataPath.SYNTHETIC)))[1] == NvspStatus.SUCCESS
    assert refusal(vsc.request(nvsp.SwitchDataPath(DataPath.VF)))[1] == NvspStatus.FAIL


@pytest.mark.parametrize("payload", [b"", bytes(8), b"\xff" * 16, b"\x65\0\0\0\xe1\0\0\0"[:8]])
def test_a_message_that_is_none_is_still_completed(vsc: NetVsc, payload: bytes) -> None:
    vsc.channels[0].send(PacketType.IN_BAND, payload, 6, COMPLETION_REQUESTED)
    vsc.take()
    (completion,) = vsc.completions
    assert completion.transaction_id == 6
    assert refusal(bytes(completion.payload))[1] != NvspStatus.SUCCESS
    vsc.completions.clear()
    assert lives(vsc)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([101, 103, 104, 106, 107, 107, 107, 125, 129, 133]), st.binary(max_size=36))))
def test_no_messages_whatever_stop_the_nic(ram: GuestRam, messages: list[tuple[int, bytes]]) -> None:
    vsc = NetVsc(ram, queues=2)
    vsc.complete_set_up()
    for number, (kind, body) in enumerate(messages):
        vsc.channels[0].send(PacketType.IN_BAND, kind.to_bytes(4, "little") + body, number, COMPLETION_REQUESTED)
        vsc.take()
    answered = [packet.transaction_id for packet in vsc.completions]
    unanswered = [n for n, (kind, _) in enumerate(messages) if n not in answered]
    assert len(answered) == len(set(answered))
    assert all(messages[n][0] in (103, 106) for n in unanswered), "only revocations have no answer"
