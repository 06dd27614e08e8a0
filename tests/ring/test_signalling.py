"""When the other side must be woken, and when it must be left alone."""

import pytest

from protocol.errors import OperatorError
from protocol.ring import RingReader, RingWriter
from tests.ring.conftest import Channel


def nothing() -> None:
    """A fence for what runs on one CPU."""


def test_only_the_packet_that_ends_emptiness_is_signalled(channel: Channel) -> None:
    assert channel.send(b"first")
    assert not channel.send(b"second")
    channel.receive()
    assert channel.send(b"third")


def test_a_batch_is_signalled_once(channel: Channel) -> None:
    assert channel.send(b"one", b"two", b"three")
    assert [packet.payload for packet in channel.receive()] == [b"one\0\0\0\0\0", b"two\0\0\0\0\0", b"three\0\0\0"]


def test_a_batch_is_not_seen_before_it_is_committed(channel: Channel) -> None:
    channel.writer.put(6, b"one")
    assert channel.reader.available() == 0
    assert channel.receive() == []


def test_an_empty_commit_signals_nothing(channel: Channel) -> None:
    assert not channel.writer.commit()


def test_packets_that_are_drained_but_not_released_still_count_as_there(channel: Channel) -> None:
    channel.send(b"one")
    channel.reader.drain(lambda packet: None)
    assert not channel.send(b"two")


def test_the_mask_silences(channel: Channel) -> None:
    channel.reader.mask()
    assert not channel.send(b"unheard")


def test_unmasking_finds_what_came_in_silence(channel: Channel) -> None:
    channel.reader.mask()
    channel.send(b"unheard")
    assert channel.reader.unmask()
    assert [packet.payload for packet in channel.receive()] == [b"unheard\0"]
    assert not channel.reader.unmask()
    assert channel.send(b"heard")


def test_a_packet_published_before_the_unmasking_store_is_found_by_the_look_after_it(channel: Channel) -> None:
    late = channel.writer
    reader = RingReader(channel.ring, nothing, lambda point: None)
    reader.mask()
    late.put(6, b"late")
    assert not late.commit()
    assert reader.unmask()


def test_a_packet_published_between_the_unmasking_store_and_the_look_is_both_signalled_and_found(
    channel: Channel,
) -> None:
    """Twice is allowed: a signal means "look again"."""
    signals: list[bool] = []
    reader = RingReader(channel.ring, nothing, lambda point: signals.append(channel.send(b"late")))
    reader.mask()
    assert reader.unmask()
    assert signals == [True]


def test_a_reader_that_comes_to_the_end_during_the_commit_is_signalled(channel: Channel) -> None:
    """The writer asks for read_index after its store: the old one would say "not empty", and nobody would look."""
    points: list[str] = []

    def reader_comes_to_the_end(point: str) -> None:
        points.append(point)
        if point == "ring.write.loaded":
            channel.reader.drain(lambda packet: None)
            channel.reader.release()

    channel.send(b"old")
    writer = RingWriter(channel.ring, nothing, reader_comes_to_the_end)
    writer.put(6, b"new")
    assert writer.commit()
    assert points == ["ring.write.loaded", "ring.write.published", "ring.write.mask_loaded"]


def test_a_reader_that_has_taken_the_new_packets_already_is_not_woken(channel: Channel) -> None:
    """Not even spuriously: by the time of the question read_index is past the old end."""

    def reader_is_faster(point: str) -> None:
        if point == "ring.write.published":
            channel.receive()

    writer = RingWriter(channel.ring, nothing, reader_is_faster)
    writer.put(6, b"taken at once")
    assert not writer.commit()


def test_unmasking_before_release_is_refused_for_it_would_lose_a_wake_up(channel: Channel) -> None:
    channel.send(b"one")
    channel.reader.mask()
    channel.reader.drain(lambda packet: None)
    with pytest.raises(OperatorError, match=r"release\(\) before unmask\(\)"):
        channel.reader.unmask()


def test_each_store_that_a_load_must_not_overtake_is_followed_by_a_fence(channel: Channel) -> None:
    """Seen from the fence itself: what the control page says when it is called, and what happened since."""
    log: list[str] = []
    writer = RingWriter(channel.ring, lambda: log.append("fence"), log.append)
    reader = RingReader(channel.ring, lambda: log.append("fence"), log.append)

    writer.put(6, b"x")
    writer.commit()
    assert log[-4:] == ["fence", "ring.write.published", "fence", "ring.write.mask_loaded"]
    writer.want(4088)
    assert log[-2:] == ["ring.write.wanting", "fence"]
    reader.drain(lambda packet: None)
    log.clear()
    reader.release()
    assert log == ["fence", "ring.read.released", "fence", "ring.read.wish_seen", "fence"]
    reader.unmask()
    assert log[-2:] == ["ring.read.unmasked", "fence"]


def test_two_writers_share_a_ring_if_they_take_turns(channel: Channel) -> None:
    """Neither keeps an index beyond commit(), so each sees what the other has written and how far the reader is."""
    writers = [RingWriter(channel.ring, nothing), RingWriter(channel.ring, nothing)]
    for turn in range(500):
        writer = writers[turn % 2]
        assert writer.put(6, b"turn", turn)
        writer.commit()
        if turn % 50 == 49:
            assert [packet.transaction_id for packet in channel.receive()] == list(range(turn - 49, turn + 1))


def test_two_readers_share_a_ring_if_they_take_turns(channel: Channel) -> None:
    readers = [RingReader(channel.ring, nothing), RingReader(channel.ring, nothing)]
    ids: list[int] = []
    for turn in range(100):
        channel.send(b"a", b"b", b"c")
        for _ in range(3):
            readers[turn % 2].drain(lambda packet: ids.append(packet.transaction_id), limit=1)
            readers[turn % 2].release()
    assert ids == [0, 1, 2] * 100
