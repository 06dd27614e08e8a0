"""The measurement itself: it loses nothing by itself, and says so when something is lost or torn."""

from collections.abc import Callable
from itertools import count

import pytest

from bench import ring_packets
from protocol.ring import Packet, RingReader, RingWriter


def test_a_sound_ring_loses_and_tears_nothing() -> None:
    result = ring_packets.measure(rounds=2, packets=3000, sizes=(64, 1500))
    assert (result.packets, result.lost, result.torn) == (2 * 2 * 3000, 0, 0)
    assert {size: len(ratios) for size, ratios in result.ratios.items()} == {64: 2, 1500: 2}
    assert all(0 <= bells < 1 for bells in result.doorbells_per_packet[64])


def test_a_wake_up_that_is_lost_is_reported_and_not_rescued(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader finds nothing and goes to sleep; the writer writes, and signals nobody."""
    commit, looked = RingWriter.commit, count()
    drain = RingReader.drain

    def commit_in_silence(writer: RingWriter) -> bool:
        commit(writer)
        return False

    def too_early(reader: RingReader, callback: Callable[[Packet], None], limit: int) -> int:
        return drain(reader, callback, limit) if next(looked) else 0

    monkeypatch.setattr(RingWriter, "commit", commit_in_silence)
    monkeypatch.setattr(RingReader, "drain", too_early)
    monkeypatch.setattr(RingReader, "unmask", lambda reader: False)
    monkeypatch.setattr(ring_packets, "STALL", 2000)
    assert ring_packets.measure(rounds=1, packets=640, sizes=(64,)).lost == 640


def test_packets_that_change_on_the_way_are_reported() -> None:
    sent = [b"one", b"two", b"three"] * 22
    inspector = ring_packets.Inspector(4, sent)
    inspector.inspect([(6, 0, 0, b"", b"one"), (6, 0, 1, b"", b"twi")])
    assert (inspector.torn, inspector.lost) == (1, 1)
    inspector.inspect([(6, 0, 3, b"", sent[3]), (6, 0, 2, b"", sent[2])])
    assert (inspector.torn, inspector.lost) == (1, 1), "out of order, and both there"
