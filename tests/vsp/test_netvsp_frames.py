"""Frames to the network and back: carriers, batches, filters."""

import random

import pytest

from protocol.ids import Pfn
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange
from protocol.wire.ndis import PacketFilter
from protocol.wire.nvsp_numbers import NvspStatus
from protocol.wire.rndis_packet import PacketInfo, Vlan
from tests.vsp.netvsc import DATA_PAGES, MAC, PAGE, PEER, NetVsc, back, frame, message

BROADCAST = b"\xff" * 6


@pytest.fixture
def vsc(ram: GuestRam) -> NetVsc:
    return NetVsc(ram).ready()


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


def test_one_doorbell_makes_one_signal_for_a_batch(vsc: NetVsc) -> None:
    channel = vsc.channels[0]
    before = channel.signals
    assert vsc.device.nic.deliver([frame(bytes([n]), PEER, MAC) for n in range(64)]) == 64
    assert channel.signals == before + 1
    vsc.take()
    assert len(vsc.received) == 1 and len(vsc.received[0].messages) == 64
