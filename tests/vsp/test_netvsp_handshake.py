"""From INIT to the last answer that Linux waits for, and back."""

import pytest

from host.vsp.net.handshake import State
from protocol.errors import PeerError
from protocol.ids import GpadlId
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.ndis import MediaState, Offload, Oid, PacketFilter, RssCapabilities
from protocol.wire.nvsp_numbers import ChannelType, NvspStatus, NvspType, NvspVersion
from protocol.wire.rndis import (
    Halt,
    IndicateStatus,
    Initialize,
    InitializeComplete,
    KeepAlive,
    KeepAliveComplete,
    Query,
    Reset,
    ResetComplete,
    RndisStatus,
    RndisType,
    Set,
)
from tests.vsp.netvsc import MAC, RECEIVE, SEND, NetVsc, frame, message, refusal


@pytest.fixture
def vsc(ram: GuestRam) -> NetVsc:
    ready = NetVsc(ram)
    ready.complete_set_up()
    return ready


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


@pytest.mark.parametrize("newest", NvspVersion)
def test_the_guest_steps_down_to_the_newest_version_that_the_host_knows(ram: GuestRam, newest: NvspVersion) -> None:
    vsc = NetVsc(ram, max_version=newest)
    assert vsc.negotiate() == newest == vsc.device.version
    assert len(vsc.clock.complaints) == len(NvspVersion) - 1 - list(NvspVersion).index(newest)
    vsc.share()
    assert vsc.device.state is State.READY


def test_a_range_of_versions_gets_its_newest_and_a_strange_version_a_refusal(ram: GuestRam) -> None:
    vsc = NetVsc(ram)
    assert refusal(vsc.request(nvsp.Init(0x60002, 0x70000))) == (NvspType.INIT_COMPLETE, NvspStatus.NONE)
    assert refusal(vsc.request(nvsp.Init(0, 0x5FFFF))) == (NvspType.INIT_COMPLETE, NvspStatus.SUCCESS)
    assert vsc.device.version == NvspVersion.V5


def test_a_sub_allocation_has_room_for_a_frame_of_the_smaller_mtu(ram: GuestRam) -> None:
    for host, guest, frame_room in ((1500, 1500, 1514), (9000, 1500, 1514), (1500, 9000, 1514), (9000, 9000, 9014)):
        vsc = NetVsc(ram, mtu=guest)
        vsc.adapter.mtu = host
        vsc.negotiate()
        vsc.share()
        assert vsc.sub_alloc_size == 256 + frame_room
        assert vsc.sub_allocs == 48 * 4096 // vsc.sub_alloc_size


def test_rndis_answers_what_linux_asks(vsc: NetVsc) -> None:
    assert vsc.query(Oid.GEN_MAXIMUM_FRAME_SIZE) == (0, u32(1500))
    assert vsc.query(Oid.ADDRESS_802_3_PERMANENT) == (0, MAC)
    assert vsc.query(Oid.GEN_FRIENDLY_NAME) == (0, "nic".encode("utf-16-le"))
    vsc.adapter.name = "n" * 5000
    assert vsc.query(Oid.GEN_FRIENDLY_NAME) == (0, ("n" * 255).encode("utf-16-le"))
    assert vsc.query(Oid.GEN_MEDIA_CONNECT_STATUS) == (0, u32(MediaState.CONNECTED))
    assert vsc.query(Oid.GEN_LINK_SPEED) == (0, u32(100_000_000))
    status, value = vsc.query(Oid.GEN_RECEIVE_SCALE_CAPABILITIES, bytes(18))
    assert (status, len(value), RssCapabilities.decode(value).receive_queues) == (0, 18, 1)
    assert vsc.query(0x0001_0101) == (RndisStatus.NOT_SUPPORTED, b"")
    assert vsc.set(Oid.TCP_OFFLOAD_PARAMETERS, bytes(28)) == RndisStatus.SUCCESS
    assert vsc.set(Oid.TCP_OFFLOAD_PARAMETERS, bytes(22)) == RndisStatus.SUCCESS
    assert vsc.set(Oid.GEN_RNDIS_CONFIG_PARAMETER, bytes(60)) == RndisStatus.NOT_SUPPORTED
    vsc.up()
    assert vsc.query(Oid.GEN_CURRENT_PACKET_FILTER) == (0, u32(0xD))
    assert vsc.clock.complaints == []


@pytest.mark.parametrize(("revision", "size"), [(1, 112), (2, 144), (3, 156)])
def test_no_offloads_are_offered_in_the_revision_that_is_asked_for(vsc: NetVsc, revision: int, size: int) -> None:
    asked = Offload(revision=revision, size=size).encode()[:size]
    assert vsc.query(Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES, asked) == (0, asked)


def test_initialise_keepalive_and_reset_are_answered_with_what_they_ask(vsc: NetVsc) -> None:
    assert KeepAliveComplete.decode(vsc.control(KeepAlive(77))) == KeepAliveComplete(77)
    vsc.up()
    assert ResetComplete.decode(vsc.control(Reset())).addressing_reset
    assert vsc.query(Oid.GEN_CURRENT_PACKET_FILTER) == (0, u32(0))
    vsc.send_pages(Halt(78).encode(), ChannelType.CONTROL)
    assert InitializeComplete.decode(vsc.control(Initialize(79))) == InitializeComplete(79)


def test_a_request_that_makes_no_sense_is_answered_so_and_complained_about(vsc: NetVsc) -> None:
    assert vsc.set(Oid.GEN_CURRENT_PACKET_FILTER, b"\1\0\0") == RndisStatus.INVALID_DATA
    assert vsc.query(Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES) == (RndisStatus.INVALID_DATA, b"")
    assert vsc.set(Oid.GEN_RECEIVE_SCALE_PARAMETERS, bytes(39)) == RndisStatus.INVALID_DATA
    for outside in (Set(5, Oid.GEN_CURRENT_PACKET_FILTER, 4, 20), Set(5, Oid.GEN_CURRENT_PACKET_FILTER, 4, 2**32 - 1)):
        vsc.send_pages(outside.encode(), ChannelType.CONTROL)
    assert len(vsc.clock.complaints) == 5
    assert vsc.query(Oid.ADDRESS_802_3_PERMANENT) == (0, MAC), "the NIC lives on"


def test_the_guest_hears_of_the_cable(vsc: NetVsc) -> None:
    vsc.device.set_link(False)
    vsc.device.set_link(False)
    vsc.take()
    (got,) = vsc.received
    assert got.kind == ChannelType.CONTROL
    assert IndicateStatus.decode(got.messages[0]).status == RndisStatus.MEDIA_DISCONNECT
    vsc.received.clear()
    assert vsc.query(Oid.GEN_MEDIA_CONNECT_STATUS) == (0, u32(MediaState.DISCONNECTED))
    vsc.device.set_link(True)
    vsc.take()
    assert IndicateStatus.decode(vsc.received[0].messages[0]).status == RndisStatus.MEDIA_CONNECT


def test_nothing_is_indicated_to_a_nic_that_is_not_set_up(ram: GuestRam) -> None:
    vsc = NetVsc(ram)
    vsc.device.set_link(False)
    vsc.take()
    assert not vsc.received


def test_revoked_buffers_are_given_back_before_the_channel_is_closed(vsc: NetVsc) -> None:
    channel = vsc.channels[0]
    assert channel.mapped == {RECEIVE, SEND}
    vsc.up(PacketFilter(0))
    vsc.send_pages(Halt(9).encode(), ChannelType.CONTROL)
    vsc.send(nvsp.RevokeReceiveBuffer(), asked=False)
    assert channel.mapped == {SEND}
    vsc.send(nvsp.RevokeSendBuffer(), asked=False)
    assert channel.mapped == set()
    assert vsc.clock.complaints == []
    done: list[bool] = []
    vsc.device.close(lambda: done.append(True))
    assert done == [True]


@pytest.mark.parametrize("orderly", [True, False])
def test_the_nic_can_be_opened_again_from_the_beginning(vsc: NetVsc, orderly: bool) -> None:
    for _ in range(10):
        vsc.up()
        if orderly:
            vsc.send(nvsp.RevokeReceiveBuffer(), asked=False)
            vsc.send(nvsp.RevokeSendBuffer(), asked=False)
        vsc.device.close(lambda: None)
        vsc.open()
        assert vsc.device.state is State.VERSION
        vsc.complete_set_up()
        vsc.up()
        vsc.send_section(0, message(frame(b"hello")))
        assert len(vsc.frames()) == 1
    assert vsc.clock.complaints == []


OUT_OF_ORDER = (
    nvsp.Init(2, 2),
    nvsp.NdisConfig(1514, 0),
    nvsp.ReceiveBuffer(RECEIVE),
    nvsp.SendBuffer(SEND),
    nvsp.RevokeSendBuffer(),
)


@pytest.mark.parametrize("request_", OUT_OF_ORDER, ids=lambda request: type(request).__name__)
def test_what_is_out_of_order_is_answered_refused_and_changes_nothing(vsc: NetVsc, request_: nvsp.NvspMessage) -> None:
    _, status = refusal(vsc.request(request_))
    assert status != NvspStatus.SUCCESS
    (complaint,) = vsc.clock.complaints
    assert isinstance(complaint, PeerError) and "READY" in str(complaint)
    assert vsc.query(Oid.ADDRESS_802_3_PERMANENT) == (0, MAC)


def test_messages_before_their_time_are_refused(ram: GuestRam) -> None:
    vsc = NetVsc(ram)
    for early in (nvsp.ReceiveBuffer(RECEIVE), nvsp.SubChannelRequest(1, 1), nvsp.RndisPacket(0)):
        assert refusal(vsc.request(early))[1] == NvspStatus.FAIL
    vsc.negotiate()
    vsc.share()
    assert vsc.send_pages(Query(1, Oid.ADDRESS_802_3_PERMANENT).encode(), ChannelType.CONTROL) != NvspStatus.SUCCESS
    assert not vsc.received, "no RNDIS before INITIALIZE"
    assert len(vsc.clock.complaints) == 4
    assert int.from_bytes(vsc.control(Initialize(1))[:4], "little") == RndisType.INITIALIZE_COMPLETE


def test_buffers_that_are_none_are_refused_and_not_kept(ram: GuestRam) -> None:
    vsc = NetVsc(ram, receive_pages=range(40, 47))
    vsc.negotiate()
    refused = (NvspType.SEND_RECV_BUF_COMPLETE, NvspStatus.FAIL)
    assert refusal(vsc.request(nvsp.ReceiveBuffer(GpadlId(0xBAD)))) == refused
    assert refusal(vsc.request(nvsp.ReceiveBuffer(RECEIVE, id=0xBEEF))) == refused
    assert refusal(vsc.request(nvsp.ReceiveBuffer(RECEIVE))) == refused, "7 pages: 16 messages, all for control"
    assert vsc.channels[0].mapped == set()
    assert len(vsc.clock.complaints) == 3
