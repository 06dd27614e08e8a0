"""Why no control word is ever stored by ``struct.pack_into``: it fills its target with zeros before it packs.

A number whose ``__index__`` looks at the ring is asked for its value in the very middle of the store, so what another
CPU sees only now and then is seen here every time.
"""

import ast
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

import protocol.ring
from protocol.ring import RingCorrupt
from tests.ring.conftest import Channel


class Looking:
    """An index that lets somebody look while it is being stored."""

    def __init__(self, value: int, look: Callable[[], None]) -> None:
        self.value = value
        self.look = look

    def __index__(self) -> int:
        self.look()
        return self.value


def publish_by_pack_into(channel: Channel, index: Looking) -> None:
    struct.pack_into("<I", channel.ring.control.cast("B"), 0, index)


def publish_by_word(channel: Channel, index: Looking) -> None:
    channel.ring.control[0] = cast(int, index)


def stage_far_from_zero(channel: Channel) -> None:
    """One packet is staged, under id 1000, where write_index is 100 packets."""
    channel.send(*[bytes(8)] * 100)
    channel.receive()
    channel.writer.put(6, b"staged", 1000)


def test_pack_into_shows_an_index_of_zero_and_the_reader_takes_what_nobody_published(channel: Channel) -> None:
    stage_far_from_zero(channel)
    came: list[int] = []

    def look() -> None:
        with pytest.raises(RingCorrupt, match="packet type"):
            channel.reader.drain(lambda packet: came.append(packet.transaction_id))

    publish_by_pack_into(channel, Looking(101 * 32, look))
    assert came == [1000]


def test_a_word_of_a_memoryview_shows_the_old_index_until_it_shows_the_new_one(channel: Channel) -> None:
    stage_far_from_zero(channel)
    came: list[int] = []

    def look() -> None:
        channel.reader.drain(lambda packet: came.append(packet.transaction_id))

    publish_by_word(channel, Looking(101 * 32, look))
    assert came == []
    look()
    assert came == [1000]


def test_pack_into_is_used_in_the_ring_for_packets_only() -> None:
    [package] = protocol.ring.__path__
    users = {
        path.name
        for path in Path(package).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "pack_into"
    }
    assert users == {"packet.py"}
