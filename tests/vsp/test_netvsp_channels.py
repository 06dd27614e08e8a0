"""Several channels: the guest's tables, and which way a frame goes."""

from collections import Counter

from host.vsp.net.echo import Echo
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.ndis import Oid, RssFlag, RssHash, RssParameters
from protocol.wire.rndis import RndisStatus
from protocol.wire.rndis_packet import PacketInfo, decode_packet
from tests.vsp.netvsc import MAC, PEER, NetVsc, back, frame, message, tcp

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


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
    vsc = NetVsc(ram, queues=4).ready()
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
    vsc = NetVsc(ram, queues=4).ready()
    rss(vsc)
    for number in range(50):
        vsc.send_section(0, message(frame(tcp(4242) + bytes([number]), MAC, PEER, b"\x08\x00")), index=number % 4)
    assert len({got.channel for got in vsc.received}) == 1
    assert [each[-1] for each in vsc.frames()] == list(range(50))


def test_what_is_no_ip_and_what_has_no_parameters_goes_to_the_primary(ram: GuestRam) -> None:
    vsc = NetVsc(ram, queues=4).ready()
    vsc.send_section(0, message(frame(tcp(1), MAC, PEER, b"\x08\x00")), index=3)
    rss(vsc, (1, 2, 3, 3))
    vsc.send_section(0, message(frame(b"not ip")), index=3)
    assert [got.channel for got in vsc.received] == [0, 0]


def test_an_echo_on_the_same_channel_asks_no_table(ram: GuestRam) -> None:
    vsc = NetVsc(ram, queues=4, backend=Echo(by_rss=False)).ready()
    for index in range(4):
        vsc.send_section(0, message(frame(b"here")), index=index)
    assert [got.channel for got in vsc.received] == [0, 1, 2, 3]


def test_the_buffers_of_a_sub_channel_that_is_closed_are_free_again(ram: GuestRam) -> None:
    vsc = NetVsc(ram, queues=2, patient=True).ready()
    buffer = vsc.device.nic.receive_buffer
    assert buffer is not None
    before = buffer.free
    vsc.device.nic.deliver([frame(b"lost", PEER, MAC)] * 5, 1)
    assert buffer.free == before - 5
    vsc.offers.offered[0].close(lambda: None)
    assert buffer.free == before
