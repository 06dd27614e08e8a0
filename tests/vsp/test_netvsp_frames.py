"""Frames to the network and back: carriers, batches, filters, exhaustion, channels."""

import random
from collections import Counter
from ipaddress import IPv4Address

import pytest

from host.vsp.net.echo import Echo, mirrored
from host.vsp.net.station import Stations
from protocol.ids import Pfn
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.gpadl import GpaRange
from protocol.wire.ndis import Oid, PacketFilter, RssFlag, RssHash, RssParameters
from protocol.wire.nvsp_numbers import NvspStatus
from protocol.wire.rndis import RndisStatus
from protocol.wire.rndis_packet import PacketInfo, Vlan, decode_packet
from tests.vsp.netvsc import DATA_PAGES, MAC, PAGE, PEER, NetVsc, frame, message

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
BROADCAST = b"\xff" * 6


@pytest.fixture
def vsc(ram: GuestRam) -> NetVsc:
    return ready(NetVsc(ram))


def ready(vsc: NetVsc) -> NetVsc:
    vsc.complete_set_up()
    if vsc.queues > 1:
        vsc.open_sub_channels(vsc.queues - 1)
    vsc.up()
    return vsc


def back(sent: bytes) -> bytes:
    """What the echo makes of a frame."""
    return sent[6:12] + sent[:6] + sent[12:]


def in_pages(data: bytes, ram: GuestRam) -> bytes:
    """Header of ranges as ``netvsc_build_mpb_array`` makes them: small ones that start anywhere in a page."""
    ranges = []
    for pfn, start in zip(DATA_PAGES, range(0, len(data), 700), strict=False):
        piece = data[start : start + 700]
        ram.bytes[pfn * PAGE + 3000 : pfn * PAGE + 3000 + len(piece)] = piece
        ranges.append(GpaRange(len(piece), 3000, (Pfn(pfn),)))
    return encode(ranges)


def test_every_byte_that_is_sent_comes_back_by_every_carrier(ram: GuestRam, vsc: NetVsc) -> None:
    rng = random.Random(7)
    sent = []
    for size in (1, 46, 47, 1000, 1500):
        whole = frame(rng.randbytes(size))
        assert vsc.send_section(3, message(whole)) == NvspStatus.SUCCESS
        assert vsc.send_pages(message(whole)) == NvspStatus.SUCCESS
        ranges = in_pages(whole, ram)
        head = message(whole)[: -len(whole)]
        assert vsc.send_section(1, head, ranges) == NvspStatus.SUCCESS
        sent += [whole] * 3
    assert vsc.frames() == list(map(back, sent))
    assert vsc.clock.complaints == []
    counts = vsc.device.counts()
    assert counts["transmitted_bytes"] == counts["received_bytes"] == sum(map(len, sent))
    assert counts["transmitted_frames"] == counts["received_frames"] == 15


def test_a_section_of_messages_and_the_head_of_another_are_one_packet_each_way(ram: GuestRam, vsc: NetVsc) -> None:
    small = [frame(bytes([n]) * 300) for n in range(7)]
    large = frame(b"L" * 1400)
    padded = b"".join(with_padding(message(each)) for each in small)
    head = message(large)[: -len(large)]
    assert vsc.send_section(0, padded + head, in_pages(large, ram)) == NvspStatus.SUCCESS
    (packet,) = vsc.received
    assert packet.frames == list(map(back, [*small, large]))


def with_padding(data: bytes) -> bytes:
    """``netvsc_copy_to_send_buf``: the message is made longer, the frame is not."""
    padding = -len(data) % 8
    return data[:4] + (len(data) + padding).to_bytes(4, "little") + data[8:] + bytes(padding)


def test_a_vlan_tag_on_the_side_goes_out_in_the_frame(vsc: NetVsc) -> None:
    plain = frame(b"tagged")
    vsc.send_section(0, message(plain, {PacketInfo.VLAN: Vlan(id=0x123, priority=5).encode()}))
    assert vsc.frames() == [back(plain)[:12] + bytes.fromhex("8100a123") + plain[12:]]


def test_the_packet_filter_decides_what_the_guest_gets(vsc: NetVsc) -> None:
    to_guest = [frame(b"x", PEER, to) for to in (MAC, PEER, BROADCAST, b"\1\0\x5e\0\0\1")]
    nic = vsc.device.nic
    for accepted, expected in (
        (PacketFilter(0), []),
        (PacketFilter.DIRECTED, [0]),
        (PacketFilter.BROADCAST, [2]),
        (PacketFilter.ALL_MULTICAST, [3]),
        (PacketFilter.DIRECTED | PacketFilter.ALL_MULTICAST | PacketFilter.BROADCAST, [0, 2, 3]),
        (PacketFilter.PROMISCUOUS, [0, 1, 2, 3]),
    ):
        vsc.up(accepted)
        assert nic.deliver(to_guest) == 4
        vsc.take()
        assert vsc.frames() == [to_guest[n] for n in expected], accepted
    assert vsc.device.counts()["unwanted"] == 24 - 10


def test_a_frame_that_no_sub_allocation_holds_is_dropped(vsc: NetVsc) -> None:
    assert vsc.device.nic.deliver([frame(bytes(1800), PEER, MAC), frame(b"ok", PEER, MAC)]) == 2
    vsc.take()
    assert vsc.frames() == [frame(b"ok", PEER, MAC)]
    assert vsc.device.counts()["too_long"] == 1


def test_a_guest_that_keeps_its_buffers_gets_no_more_until_it_gives_some_back(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, patient=True))
    room = vsc.sub_allocs - 16
    for number in range(room + 20):
        assert vsc.send_section(0, message(frame(number.to_bytes(4, "big")))) == NvspStatus.SUCCESS
    held = list(vsc.received)
    assert sum(len(each.frames) for each in held) == room
    assert vsc.device.counts()["echo_held"] == 20
    assert vsc.device.counts()["waits"] == 1
    places = [bytes(each.messages[0]) for each in held]
    for each in held[:5]:
        vsc.release(each)
    vsc.take()
    assert vsc.device.counts()["echo_held"] == 15
    assert [each.messages[0] for each in held] == places, "what the guest holds is not overwritten"
    vsc.patient = False
    for each in held[5:]:
        vsc.release(each)
    vsc.take()
    vsc.take()
    numbers = [int.from_bytes(each[14:18], "big") for each in vsc.frames()]
    assert numbers == list(range(room + 20)), "in order, and none is lost"


def test_control_messages_are_answered_while_frames_take_every_other_buffer(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, patient=True))
    while vsc.device.nic.deliver([frame(b"flood", PEER, MAC)]):
        vsc.take()
    assert vsc.query(Oid.ADDRESS_802_3_PERMANENT) == (0, MAC)


def test_more_answers_than_control_buffers_wait_their_turn(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, patient=True))
    for up in range(20):
        vsc.device.set_link(bool(up % 2))
        vsc.take()
    taken = len(vsc.received)
    assert taken == 16
    for each in vsc.received[:taken]:
        vsc.release(each)
    vsc.take()
    assert len(vsc.received) == 20


def test_a_full_ring_makes_the_network_wait_and_not_the_guest_lose(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram))
    nic = vsc.device.nic
    backend = vsc.backend
    assert isinstance(backend, Echo)
    waiting = [frame(n.to_bytes(2, "big"), MAC, PEER) for n in range(100)]
    for each in waiting:
        backend.transmit([each], 0)
    assert backend.counts()["echo_held"] > 0
    assert nic.channels[0].congested
    while backend.counts()["echo_held"]:
        vsc.take()
    vsc.take()
    assert vsc.frames() == list(map(back, waiting))


def test_one_doorbell_makes_one_signal_for_a_batch(vsc: NetVsc) -> None:
    channel = vsc.channels[0]
    before = channel.signals
    assert vsc.device.nic.deliver([frame(bytes([n]), PEER, MAC) for n in range(64)]) == 64
    assert channel.signals == before + 1
    vsc.take()
    assert len(vsc.received) == 1 and len(vsc.received[0].messages) == 64


# --- several channels -------------------------------------------------------------------------------------------------


def tcp(port: int) -> bytes:
    """The beginning of an IPv4 TCP segment from the peer's address."""
    header = bytes.fromhex("450000280001000040060000") + bytes([10, 0, 0, 2, 10, 0, 0, 1])
    return header + port.to_bytes(2, "big") + b"\x00\x50" + bytes(16)


def rss(vsc: NetVsc, table: tuple[int, ...] = (0, 1, 2, 3) * 32, flags: int = 0) -> int:
    over = RssHash.TOEPLITZ | RssHash.IPV4 | RssHash.TCP_IPV4 | RssHash.IPV6 | RssHash.TCP_IPV6
    return vsc.set(Oid.GEN_RECEIVE_SCALE_PARAMETERS, RssParameters(RssFlag(flags), over, table, KEY).encode())


def test_the_send_table_comes_when_the_last_sub_channel_is_open(ram: GuestRam) -> None:
    vsc = NetVsc(ram, queues=4)
    vsc.complete_set_up()
    vsc.open_sub_channels(3)
    (packet,) = vsc.in_band
    assert nvsp.decode_send_table(packet.payload) == (0, 1, 2, 3) * 4


def test_frames_go_to_the_channels_of_the_guests_table_with_the_hash_that_chose(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, queues=4))
    assert rss(vsc, flags=RssFlag.DISABLE) == RndisStatus.SUCCESS
    assert rss(vsc) == RndisStatus.SUCCESS
    flows = [frame(tcp(port), MAC, PEER, b"\x08\x00") for port in range(1000, 1100)]
    for each in flows:
        vsc.send_section(0, message(each), index=2)
    used = Counter(got.channel for got in vsc.received)
    assert set(used) == {0, 1, 2, 3} and min(used.values()) > 10
    for got in vsc.received:
        _, information = decode_packet(got.messages[0])
        assert int.from_bytes(information[PacketInfo.HASH_VALUE], "little") % 4 == got.channel
    assert Counter(vsc.frames()) == Counter(map(back, flows))
    counts = vsc.device.counts()
    assert counts["transmitted_frames.2"] == 100
    assert counts["received_frames.1"] == used[1]


def test_a_flow_stays_on_its_channel_and_in_order(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, queues=4))
    rss(vsc)
    for number in range(50):
        vsc.send_section(0, message(frame(tcp(4242) + bytes([number]), MAC, PEER, b"\x08\x00")), index=number % 4)
    assert len({got.channel for got in vsc.received}) == 1
    assert [each[-1] for each in vsc.frames()] == list(range(50))


def test_what_is_no_ip_and_what_has_no_parameters_goes_to_the_primary(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, queues=4))
    vsc.send_section(0, message(frame(tcp(1), MAC, PEER, b"\x08\x00")), index=3)
    rss(vsc, (1, 2, 3, 3))
    vsc.send_section(0, message(frame(b"not ip")), index=3)
    assert [got.channel for got in vsc.received] == [0, 0]


def test_an_echo_on_the_same_channel_asks_no_table(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, queues=4, backend=Echo(by_rss=False)))
    for index in range(4):
        vsc.send_section(0, message(frame(b"here")), index=index)
    assert [got.channel for got in vsc.received] == [0, 1, 2, 3]


def test_the_buffers_of_a_sub_channel_that_is_closed_are_free_again(ram: GuestRam) -> None:
    vsc = ready(NetVsc(ram, queues=2, patient=True))
    buffer = vsc.device.nic.receive_buffer
    assert buffer is not None
    before = buffer.free
    vsc.device.nic.deliver([frame(b"lost", PEER, MAC)] * 5, 1)
    assert buffer.free == before - 5
    vsc.offers.offered[0].close(lambda: None)
    assert buffer.free == before


# --- the stations of the echo -----------------------------------------------------------------------------------------


def test_what_is_for_many_is_not_mirrored() -> None:
    assert mirrored(frame(b"", MAC, BROADCAST)) is None
    assert mirrored(frame(b"", MAC, b"\x33\x33\0\0\0\1")) is None


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@pytest.mark.parametrize("payload", [b"", b"\x00" * 56, b"\xff" * 56, b"odd", bytes(range(200))])
def test_a_station_answers_ping_with_a_right_checksum(payload: bytes) -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    body = b"\x12\x34\0\1" + payload
    echo = b"\x08\0" + checksum(b"\x08\0\0\0" + body).to_bytes(2, "big") + body
    ip = b"\x45\0" + (20 + len(echo)).to_bytes(2, "big") + bytes(5) + b"\x01\0\0" + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    reply = stations.answer(frame(ip + echo, MAC, PEER, b"\x08\x00"))
    assert reply is not None
    assert reply[:14] == MAC + PEER + b"\x08\x00"
    assert reply[26:34] == bytes([10, 0, 0, 2, 10, 0, 0, 1])
    assert reply[34] == 0 and reply[38:] == body
    assert checksum(reply[34:]) in (0, 0xFFFF)


def test_a_station_is_silent_when_it_is_not_meant() -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    for data in (b"", tcp(1), bytes(60), b"\x46" + bytes(60)):
        for kind in (b"\x08\x00", b"\x08\x06", b"\x86\xdd"):
            for cut in range(0, 60, 7):
                assert stations.answer(frame(data[:cut], MAC, PEER, kind)) is None
