"""Integration services: both ways together, for each message is answered before the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lab.linux.differential.protocols.said import Said, first_of_each
from lab.linux.differential.streams import Item
from protocol.wire.ic import ICMSG, IcMessage
from protocol.wire.pipe import HEADER_SIZE

TIMES: Final = slice(0, 16)
"""Wall clock and reference time, at the beginning of a time sample."""
PERIODIC: Final = (IcMessage.HEARTBEAT, IcMessage.TIMESYNC)
"""How often they come is a question of how long one looks."""


def read(said: list[Said]) -> dict[str, list[Item]]:
    return {"packets": first_of_each(_items(said))}


def _items(said: list[Said]) -> Iterator[tuple[object, Item]]:
    for number, each in enumerate(said):
        message = IcMessage(ICMSG.unpack(each.payload, HEADER_SIZE)[2])
        body = bytearray(each.payload[HEADER_SIZE + ICMSG.size :])
        if message is IcMessage.TIMESYNC:
            body[TIMES] = bytes(16)
        header = each.payload[: HEADER_SIZE + ICMSG.size].hex()
        key = each.direction if message in PERIODIC else number
        yield (message, key), each.item(message.name, f"{header} {body.hex()}")
