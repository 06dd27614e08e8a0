"""A NIC: what is said in NVSP, each direction for itself, and the RNDIS inside of it, both ways together.

Frames are left out, and so are the completions of RNDIS packets: when the guest gives memory back is its own business.
"""

from __future__ import annotations

from typing import Final

from lab.linux.differential.protocols.said import Said, both_ways, shown
from lab.linux.differential.streams import Item
from protocol.ring import PacketType
from protocol.wire import nvsp
from protocol.wire.ndis import Oid
from protocol.wire.nvsp_numbers import NvspType
from protocol.wire.rndis import (
    Halt,
    IndicateStatus,
    Informed,
    Initialize,
    InitializeComplete,
    Query,
    QueryComplete,
    RndisMessage,
    RndisType,
    Set,
    SetComplete,
)

NVSP: Final[dict[int, type[nvsp.NvspMessage]]] = {
    each.type: each
    for each in (
        nvsp.Init,
        nvsp.InitComplete,
        nvsp.NdisVersion,
        nvsp.NdisConfig,
        nvsp.ReceiveBuffer,
        nvsp.ReceiveBufferComplete,
        nvsp.SendBuffer,
        nvsp.SendBufferComplete,
        nvsp.RevokeReceiveBuffer,
        nvsp.RevokeSendBuffer,
    )
}
RNDIS: Final[dict[int, type[RndisMessage]]] = {
    each.type: each
    for each in (Initialize, InitializeComplete, Query, QueryComplete, Set, SetComplete, Halt, IndicateStatus)
}
ENVELOPES: Final = (NvspType.SEND_RNDIS_PKT, NvspType.SEND_RNDIS_PKT_COMPLETE)


def read(said: list[Said]) -> dict[str, list[Item]]:
    packets = (each for each in said if each.event == "packet" and not _envelope(each))
    return {
        **both_ways(packets, _nvsp),
        "RNDIS": [_rndis(each) for each in said if each.event == "rndis"],
    }


def _envelope(said: Said) -> bool:
    """A packet with RNDIS messages, or its completion. Linux completes with a zeroed message."""
    return nvsp.type_of(said.payload) in ENVELOPES or (said.by_guest and said.type == PacketType.COMPLETION)


def _nvsp(said: Said) -> Item:
    kind = NvspType(nvsp.type_of(said.payload))
    decoder = NVSP.get(kind)
    if decoder is None:
        return said.item(kind.name, said.payload.hex())
    rest = said.payload[decoder.layout.size :].hex()
    return said.item(kind.name, f"{shown(decoder.decode(said.payload), gpadl='a GPADL')} {rest}")


def _rndis(said: Said) -> Item:
    kind = RndisType(int.from_bytes(said.payload[:4], "little"))
    decoder = RNDIS[kind]
    message = decoder.decode(said.payload)
    name = kind.name
    if isinstance(message, Query | Set):
        name = f"{name} {Oid(message.oid).name}"
    information = message.information(said.payload).hex() if isinstance(message, Informed) else ""
    return Item(name, f"{said.direction} {name} {len(said.payload)} bytes {shown(message)} {information}")
