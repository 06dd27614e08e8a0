"""A writer without room asks for a signal (pending_send_sz) and gets exactly one, when its room is there."""

import pytest

from protocol.errors import OperatorError
from protocol.ring import RingReader, RingWriter, ring_bytes
from tests.ring.conftest import Channel

PACKET = ring_bytes(100)


def fill(channel: Channel) -> int:
    """As many packets of 100 bytes as go in; how many that were."""
    count = 0
    while channel.writer.put(6, bytes(100), count):
        count += 1
    channel.writer.commit()
    return count


def take(channel: Channel, packets: int) -> bool:
    """Read and release so many; says whether to signal."""
    assert channel.reader.drain(lambda packet: None, limit=packets) == packets
    return channel.reader.release()


def test_a_ring_is_never_filled_to_the_last_eight_bytes(channel: Channel) -> None:
    assert channel.writer.room() == 4096 - 8
    assert channel.writer.put(6, bytes(4096 - 8 - ring_bytes(0)))
    assert channel.writer.room() == 0
    channel.writer.commit()
    assert channel.writer.room() == 0
    assert not channel.writer.put(6, b"")
    assert channel.reader.available() == 4096 - 8


def test_a_packet_that_never_fits_is_the_authors_mistake(channel: Channel) -> None:
    with pytest.raises(OperatorError, match="larger ring"):
        channel.writer.put(6, bytes(4096 - ring_bytes(0)))
    with pytest.raises(OperatorError, match="larger ring"):
        channel.writer.want(4096)


def test_without_room_nothing_is_staged(channel: Channel) -> None:
    count = fill(channel)
    assert not channel.writer.put(6, bytes(100))
    assert not channel.writer.commit()
    assert len(channel.receive()) == count


def test_room_that_the_reader_gave_back_is_found_at_the_next_put(channel: Channel) -> None:
    fill(channel)
    take(channel, 1)
    assert channel.writer.put(6, bytes(100))


def test_a_batch_finds_room_that_is_given_back_while_it_is_staged(channel: Channel) -> None:
    fill(channel)
    take(channel, 1)
    assert channel.writer.put(6, bytes(100))
    assert not channel.writer.put(6, bytes(100))
    take(channel, 1)
    assert channel.writer.put(6, bytes(100))


def test_the_crossing_is_signalled_once(channel: Channel) -> None:
    count = fill(channel)
    room = channel.writer.room()
    assert not channel.writer.want(room + 3 * PACKET)
    assert [take(channel, 1) for _ in range(count)] == [n == 2 for n in range(count)]


def test_the_crossing_is_signalled_also_when_it_is_far_overshot(channel: Channel) -> None:
    count = fill(channel)
    assert not channel.writer.want(2 * PACKET)
    assert take(channel, count)


def test_a_wish_that_is_met_already_is_never_signalled(channel: Channel) -> None:
    """hv_sock leaves pending_send_sz set for ever; only crossings count."""
    channel.ring.control[3] = 200
    channel.send(*[bytes(100)] * 5)
    assert [take(channel, 1) for _ in range(5)] == [False] * 5


def test_nobody_waits_so_nobody_is_signalled(channel: Channel) -> None:
    assert not take(channel, fill(channel))


def test_room_that_came_while_the_wish_was_stored_is_seen_by_the_second_look(channel: Channel) -> None:
    fill(channel)
    signals: list[bool] = []
    writer = RingWriter(channel.ring, lambda: None, lambda point: signals.append(take(channel, 3)))
    assert writer.want(2 * PACKET)
    assert channel.ring.control[3] == 0
    assert signals == [True]


def test_a_wish_is_taken_back_by_the_next_commit(channel: Channel) -> None:
    fill(channel)
    assert not channel.writer.want(PACKET)
    assert channel.ring.control[3] == PACKET
    take(channel, 1)
    assert channel.writer.put(6, bytes(100))
    assert channel.ring.control[3] == PACKET
    channel.writer.commit()
    assert channel.ring.control[3] == 0


def test_one_writers_commit_leaves_the_wish_of_another_alone(channel: Channel) -> None:
    fill(channel)
    assert not channel.writer.want(8 * PACKET)
    take(channel, 1)
    other = RingWriter(channel.ring, lambda: None)
    assert other.put(6, bytes(100))
    other.commit()
    assert channel.ring.control[3] == 8 * PACKET
    assert take(channel, 8)


def test_wishes_are_rounded_up_to_eight_bytes(channel: Channel) -> None:
    fill(channel)
    channel.writer.want(3001)
    assert channel.ring.control[3] == 3008


def test_a_guest_that_waits_for_size_minus_one_is_woken_by_the_empty_ring(channel: Channel) -> None:
    """Some guests do; the low three bits do not count."""
    count = fill(channel)
    channel.ring.control[3] = 4096 - 1
    assert take(channel, count)


def test_a_wish_in_a_ring_whose_writer_does_not_know_wishes_is_ignored(channel: Channel) -> None:
    count = fill(channel)
    channel.ring.control[3] = 2 * PACKET
    channel.ring.control[16] = 0
    assert not take(channel, count)


def test_the_readers_mask_does_not_silence_the_signal_to_the_writer(channel: Channel) -> None:
    count = fill(channel)
    channel.writer.want(2 * PACKET)
    channel.reader.mask()
    assert take(channel, count)


def test_a_wish_with_something_staged_is_refused_for_the_peer_could_not_judge_it(channel: Channel) -> None:
    channel.writer.put(6, b"staged")
    with pytest.raises(OperatorError, match=r"commit\(\) before want\(\)"):
        channel.writer.want(4000)


def test_the_reader_judges_the_crossing_by_the_write_index_of_now(channel: Channel) -> None:
    """Written after the reader stored its index and before it looks: the room is smaller than it was."""
    count = fill(channel)
    room = channel.writer.room()
    channel.writer.want(room + 2 * PACKET)

    def another_writer_is_faster(point: str) -> None:
        if point == "ring.read.released":
            other = RingWriter(channel.ring, lambda: None)
            assert other.put(6, bytes(100))
            other.commit()

    reader = RingReader(channel.ring, lambda: None, another_writer_is_faster)
    assert count > 4
    signals = []
    for _ in range(3):
        reader.drain(lambda packet: None, limit=1)
        signals.append(reader.release())
    assert signals == [False, False, False]
    assert take(channel, 2)


def test_a_release_of_nothing_touches_nothing(channel: Channel) -> None:
    channel.send(b"x")
    assert not channel.reader.release()
    assert channel.ring.control[1] == 0
