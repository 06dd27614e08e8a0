"""Dynamic memory: each direction for itself, for the host tells how large a guest may become when it likes.

Reports of the guest's memory are left out; of pages that change hands only the number is compared.
"""

from __future__ import annotations

from lab.linux.differential.protocols.said import Said, both_ways
from lab.linux.differential.streams import Item
from protocol.wire.dynmem import BalloonResponse, DmHeader, DmType


def read(said: list[Said]) -> dict[str, list[Item]]:
    return both_ways((each for each in said if DmHeader.decode(each.payload).type != DmType.STATUS_REPORT), _item)


def _item(said: Said) -> Item:
    header = DmHeader.decode(said.payload)
    body = said.payload[DmHeader.layout.size :]
    text = body.hex()
    if header.type == DmType.BALLOON_RESPONSE:
        response = BalloonResponse.decode(body)
        text = f"{sum(each.pages for each in response.ranges)} pages, more {response.more}"
    return said.item(DmType(header.type).name, f"size {header.size} transaction {header.transaction} {text}")
