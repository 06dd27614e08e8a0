"""A hostile or broken peer is told apart by name, costs no more than its own channel, and is never obeyed."""

import struct

import pytest

from protocol.errors import PeerError
from protocol.ring import Packet, RingCorrupt, RingReader
from tests.ring.conftest import Channel

IMPOSSIBLE = [4096, 4, 0xFFFF_FFFF, 4095, 0x8000_0000]


@pytest.mark.parametrize("index", IMPOSSIBLE)
def test_a_reader_names_an_impossible_write_index(channel: Channel, index: int) -> None:
    channel.ring.control[0] = index
    with pytest.raises(RingCorrupt, match="write_index") as caught:
        channel.reader.drain(lambda packet: None)
    assert (caught.value.what, caught.value.value) == ("write_index", index)
    assert isinstance(caught.value, PeerError)


@pytest.mark.parametrize("index", IMPOSSIBLE)
def test_a_writer_names_an_impossible_read_index(channel: Channel, index: int) -> None:
    channel.ring.control[1] = index
    with pytest.raises(RingCorrupt, match="read_index"):
        channel.writer.put(6, b"x")


def test_a_read_index_that_goes_bad_during_the_commit_is_named(channel: Channel) -> None:
    channel.writer.put(6, b"x")
    channel.ring.control[1] = 3
    with pytest.raises(RingCorrupt, match="read_index"):
        channel.writer.commit()


def test_a_write_index_that_goes_bad_during_the_release_is_named(channel: Channel) -> None:
    channel.send(b"x")
    channel.reader.drain(lambda packet: None)
    channel.ring.control[3] = 4000
    channel.ring.control[0] = 3
    with pytest.raises(RingCorrupt, match="write_index"):
        channel.reader.release()


@pytest.mark.parametrize(
    ("descriptor", "what"),
    [
        ((5, 2, 3, 0), "packet type"),
        ((8, 2, 3, 0), "packet type"),
        ((0, 0, 0, 0), "packet type"),
        ((6, 2, 3, 2), "packet flags"),
        ((6, 2, 3, 0x8001), "packet flags"),
        ((6, 1, 3, 0), "packet offset8"),
        ((6, 4, 3, 0), "packet offset8"),
        ((6, 2, 0, 0), "packet offset8"),
        ((6, 2, 4, 0), "packet length"),
        ((6, 2, 0xFFFF, 0), "packet length"),
    ],
)
@pytest.mark.parametrize("views", [False, True])
def test_a_reader_names_what_is_wrong_with_a_descriptor(
    channel: Channel, descriptor: tuple[int, int, int, int], what: str, views: bool
) -> None:
    channel.send(b"good one", b"bad one.")
    struct.pack_into("<HHHH", channel.ring.data, 32, *descriptor)
    came: list[Packet] = []
    with pytest.raises(RingCorrupt) as caught:
        channel.reader.drain(came.append, views=views)
    assert caught.value.what == what
    assert len(came) == 1


@pytest.mark.parametrize("published", [8, 16])
def test_less_than_a_packet_is_a_truncated_packet(channel: Channel, published: int) -> None:
    channel.ring.control[0] = published
    with pytest.raises(RingCorrupt, match="packet length") as caught:
        channel.reader.drain(lambda packet: None)
    assert caught.value.value == 24


def test_a_bad_packet_is_found_again_and_what_was_before_it_is_not_repeated(channel: Channel) -> None:
    channel.send(b"good", b"bad")
    channel.ring.data[32] = 99
    came: list[Packet] = []
    for _ in range(2):
        with pytest.raises(RingCorrupt):
            channel.reader.drain(came.append)
    assert [packet.payload[:4] for packet in came] == [b"good"]


def test_a_callback_that_fails_has_had_its_packet(channel: Channel) -> None:
    channel.send(b"one", b"two")
    came: list[Packet] = []

    def fails(packet: Packet) -> None:
        came.append(packet)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            channel.reader.drain(fails)
    assert [packet.transaction_id for packet in came] == [0, 1]


def test_a_peer_that_rewrites_a_packet_while_it_is_read_changes_nothing(channel: Channel) -> None:
    """Double fetch: what was judged is what is delivered, however the ring looks by now."""
    channel.send(b"original", b"original")

    def rewrite(packet: Packet) -> None:
        channel.ring.data[: channel.ring.size] = b"\xff" * channel.ring.size
        assert packet.payload == b"original"

    assert channel.reader.drain(rewrite) == 2


def test_with_views_a_rewritten_descriptor_is_judged_anew(channel: Channel) -> None:
    channel.send(b"original", b"original")

    def rewrite(packet: Packet) -> None:
        struct.pack_into("<HHHH", channel.ring.data, 32, 6, 2, 0xFFFF, 0)

    with pytest.raises(RingCorrupt, match="packet length"):
        channel.reader.drain(rewrite, views=True)


def test_the_readers_own_index_is_the_peers_memory_too(channel: Channel) -> None:
    reader = RingReader(channel.ring, lambda: None)
    channel.ring.control[1] = 12
    with pytest.raises(RingCorrupt, match="read_index"):
        reader.available()
