"""Synthetic video: each direction for itself, for the guest does not wait for the host to have seen its picture."""

from __future__ import annotations

from typing import Final

from lab.linux.differential.protocols.said import Said, both_ways, shown
from lab.linux.differential.streams import Item
from protocol.wire.layout import Structure
from protocol.wire.pipe import HEADER_SIZE
from protocol.wire.synthvid import (
    Ack,
    FeatureChange,
    PointerPosition,
    PointerShape,
    ResolutionRequest,
    SituationUpdate,
    VersionRequest,
    VersionResponse,
    VidHeader,
    VidMessage,
    VramLocation,
)

BODIES: Final[dict[VidMessage, type[Structure]]] = {
    VidMessage.VERSION_REQUEST: VersionRequest,
    VidMessage.VERSION_RESPONSE: VersionResponse,
    VidMessage.RESOLUTION_REQUEST: ResolutionRequest,
    VidMessage.VRAM_LOCATION: VramLocation,
    VidMessage.VRAM_LOCATION_ACK: Ack,
    VidMessage.SITUATION_UPDATE: SituationUpdate,
    VidMessage.SITUATION_UPDATE_ACK: Ack,
    VidMessage.POINTER_POSITION: PointerPosition,
    VidMessage.POINTER_SHAPE: PointerShape,
    VidMessage.FEATURE_CHANGE: FeatureChange,
}
BODY_AT: Final = HEADER_SIZE + VidHeader.layout.size


FREE: Final = {
    VidMessage.VRAM_LOCATION: {"vram_gpa": "a place", "user_ctx": "a place"},
    VidMessage.VRAM_LOCATION_ACK: {"user_ctx": "a place"},
}


def read(said: list[Said]) -> dict[str, list[Item]]:
    return both_ways(said, _item)


def _item(said: Said) -> Item:
    message = VidMessage(VidHeader.decode(said.payload, HEADER_SIZE).type)
    header = said.payload[:BODY_AT].hex()
    structure = BODIES.get(message)
    if structure is None:
        return said.item(message.name, f"{header} {said.payload[BODY_AT:].hex()}")
    fields = shown(structure.decode(said.payload, BODY_AT), **FREE.get(message, {}))
    return said.item(message.name, f"{header} {fields}")
