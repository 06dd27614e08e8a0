"""Byte for byte what a kernel or an OpenVMM on the other end would see."""

import struct
from collections.abc import Callable

import pytest

from protocol.errors import OperatorError
from protocol.ring import COMPLETION_REQUESTED, PacketType, ring_bytes
from tests.ring.conftest import Channel


def test_a_new_ring_is_empty_and_says_that_it_knows_pending_send_sz(channel: Channel) -> None:
    assert channel.ring.control[:5].tolist() == [0, 0, 0, 0, 0]
    assert channel.ring.control.nbytes == 4096
    assert bytes(channel.ring.control.cast("B")[64:68]) == b"\1\0\0\0"


def test_the_indices_and_the_mask_lie_where_the_kernel_has_them(channel: Channel) -> None:
    page = channel.ring.control.cast("B")
    channel.send(bytes(8))
    assert struct.unpack_from("<II", page) == (32, 0)
    channel.receive()
    assert struct.unpack_from("<II", page) == (32, 32)
    channel.reader.mask()
    assert struct.unpack_from("<I", page, 8) == (1,)
    channel.writer.want(4088 - 32)
    channel.writer.put(6, bytes(8))
    channel.writer.commit()
    assert not channel.writer.want(4088)
    assert struct.unpack_from("<I", page, 12) == (4088,)


def test_a_packet_is_descriptor_payload_padding_and_trailer(channel: Channel) -> None:
    channel.start_at(40)
    channel.writer.put(PacketType.COMPLETION, b"payload__+", 0x1122334455667788)
    channel.writer.commit()
    assert bytes(channel.ring.data[40:80]) == (
        struct.pack("<HHHHQ", 0xB, 2, 4, 0, 0x1122334455667788) + b"payload__+" + bytes(6) + struct.pack("<II", 0, 40)
    )


def test_the_header_of_a_type_lies_between_descriptor_and_payload(channel: Channel) -> None:
    channel.writer.put(PacketType.GPA_DIRECT, b"body....", 5, COMPLETION_REQUESTED, header=b"header.." * 2)
    channel.writer.commit()
    assert struct.unpack_from("<HHHHQ", channel.ring.data) == (9, 4, 5, 1, 5)
    assert channel.receive() == [(9, 1, 5, b"header..header..", b"body....")]


def test_the_trailer_says_where_its_own_packet_started_also_beyond_the_wrap(channel: Channel) -> None:
    channel.start_at(4096 - 32)
    channel.send(bytes(8), bytes(8))
    assert struct.unpack_from("<II", channel.ring.data, 4096 - 8) == (0, 4096 - 32)
    assert struct.unpack_from("<II", channel.ring.data, 24) == (0, 0)
    assert channel.ring.write_index() == 32


def test_the_length_of_a_payload_is_known_to_the_next_multiple_of_eight(channel: Channel) -> None:
    channel.send(b"12345")
    [packet] = channel.receive()
    assert packet.payload == b"12345\0\0\0"


def test_an_empty_payload_is_a_packet_of_24_bytes(channel: Channel) -> None:
    channel.send(b"")
    assert channel.reader.available() == ring_bytes(0) == 24
    assert channel.receive() == [(6, 0, 0, b"", b"")]


@pytest.mark.parametrize("body", [16383, 16384, 16385, 30001])
def test_long_packets_are_laid_out_like_short_ones(make_channel: Callable[[int], Channel], body: int) -> None:
    channel = make_channel(10)
    channel.start_at(9 * 4096)
    payload = bytes(range(256)) * 118
    channel.writer.put(6, payload[:body], 7)
    channel.writer.put(6, b"next", 8)
    assert channel.reader.available() == 0
    channel.writer.commit()
    assert channel.reader.available() == ring_bytes(body) + ring_bytes(4)
    first, second = channel.receive()
    assert first == (6, 0, 7, b"", payload[:body] + bytes(-body % 8))
    assert second.transaction_id == 8


def test_a_dirty_ring_does_not_show_in_the_padding_of_a_long_packet(make_channel: Callable[[int], Channel]) -> None:
    channel = make_channel(10)
    channel.ring.data[: channel.ring.size] = b"\xff" * channel.ring.size
    channel.send(bytes(20001))
    [packet] = channel.receive()
    assert bytes(packet.payload) == bytes(20008)


def test_what_no_packet_can_say_is_the_authors_mistake(make_channel: Callable[[int], Channel]) -> None:
    channel = make_channel(200)
    with pytest.raises(OperatorError, match="multiple of 8"):
        channel.writer.put(6, b"", header=b"12345")
    with pytest.raises(OperatorError, match="cannot hold"):
        channel.writer.put(6, bytes(0xFFFF * 8))
    assert channel.writer.put(6, bytes(0xFFFF * 8 - 16))
    assert not channel.ring.control[0]
    channel.writer.commit()
    assert channel.ring.write_index() == 0xFFFF * 8 + 8
