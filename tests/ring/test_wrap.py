"""A packet may lie across the end of the data area at any multiple of 8, descriptor and trailer included."""

from collections.abc import Callable

import pytest

from tests.ring.conftest import Channel

BODIES = [b"", b"12345678", bytes(range(100)), bytes(range(256)) * 3]


@pytest.mark.parametrize("data_pages", [1, 3])
@pytest.mark.parametrize("views", [False, True])
def test_every_place_of_every_packet(make_channel: Callable[[int], Channel], data_pages: int, views: bool) -> None:
    channel = make_channel(data_pages)
    for start in range(0, channel.ring.size, 8):
        channel.start_at(start)
        assert channel.send(*BODIES)
        came: list[bytes] = []
        channel.reader.drain(lambda packet, came=came: came.append(bytes(packet.payload)), views=views)  # type: ignore[misc]
        assert came == [body + bytes(-len(body) % 8) for body in BODIES]
        assert not channel.reader.release()
        assert channel.ring.read_index() == channel.ring.write_index()


def test_a_packet_that_ends_with_the_data_area_brings_the_index_back_to_zero(channel: Channel) -> None:
    channel.start_at(4096 - 32)
    channel.send(bytes(8))
    assert channel.ring.write_index() == 0
    assert len(channel.receive()) == 1
    assert channel.ring.read_index() == 0


def test_the_largest_packet_fits_at_every_place(channel: Channel) -> None:
    body = bytes(range(256)) * 16
    for start in range(0, 4096, 8):
        channel.start_at(start)
        assert channel.send(body[: 4096 - 32])
        [packet] = channel.receive()
        assert packet.payload == body[: 4096 - 32]


def test_packets_larger_than_what_is_copied_at_once(make_channel: Callable[[int], Channel]) -> None:
    channel = make_channel(100)
    bodies = [bytes([n]) * length for n, length in enumerate([8, 5000, 70000, 8, 140000, 4096, 100000])]
    for start in range(0, channel.ring.size, 40008):
        channel.start_at(start)
        channel.send(*bodies)
        assert [packet.payload for packet in channel.receive()] == bodies


def test_a_view_is_of_the_ring_itself_and_a_copy_is_not(channel: Channel) -> None:
    channel.send(b"original")
    kept: list[bytes | memoryview] = []
    channel.reader.drain(lambda packet: kept.append(packet.payload))
    channel.ring.data[16:24] = b"scribble"
    assert kept == [b"original"]
    channel.reader.release()
    channel.send(b"original")
    channel.reader.drain(lambda packet: kept.append(packet.payload), views=True)
    channel.ring.data[48:56] = b"scribble"
    assert kept[1] == b"scribble"


def test_a_limit_leaves_the_rest_for_the_next_time(channel: Channel) -> None:
    channel.send(*[bytes(8)] * 10)
    ids: list[int] = []
    take = lambda packet: ids.append(packet.transaction_id)  # noqa: E731
    assert channel.reader.drain(take, limit=0) == 0
    assert channel.reader.drain(take, limit=3) == 3
    assert channel.reader.drain(take, limit=3) == 3
    channel.reader.release()
    assert channel.reader.available() == 4 * 32
    assert channel.reader.drain(take) == 4
    assert ids == list(range(10))
