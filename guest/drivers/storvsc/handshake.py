"""The conversation after the channel is open, one step at a time (``storvsc_channel_init``)."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE
from protocol.wire.vstor import (
    SUPPORTS_MULTI_CHANNEL,
    VERSIONS,
    Operation,
    Properties,
    ProtocolVersion,
    VstorPacket,
)

Exchange = Callable[[VstorPacket], Awaitable[VstorPacket]]
"""Send a packet and return its answer; raises VmbusError(ETIMEDOUT)."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What came out of it: ``max_transfer`` in bytes, whole pages; ``sub_channels`` as announced, or 0."""

    version: int
    max_transfer: int
    sub_channels: int


async def channel_init(exchange: Exchange) -> Agreed:
    """Agree with the host on version and limits.

    Raises VmbusError: EINVAL if the host refuses a step, ENODEV if it accepts no version, ETIMEDOUT if it is silent.
    """
    await _step(exchange, VstorPacket(Operation.BEGIN_INITIALIZATION))
    version = await _agree_on_version(exchange)
    answer = await _step(exchange, VstorPacket(Operation.QUERY_PROPERTIES))
    properties = Properties.decode(answer.body)
    await _step(exchange, VstorPacket(Operation.END_INITIALIZATION))
    return Agreed(
        version,
        max(PAGE_SIZE, properties.max_transfer_bytes // PAGE_SIZE * PAGE_SIZE),
        properties.max_channel_count if properties.flags & SUPPORTS_MULTI_CHANNEL else 0,
    )


async def _agree_on_version(exchange: Exchange) -> int:
    """The first of ours that the host accepts; whatever status it refuses with, the next one is tried."""
    for version in VERSIONS:
        question = VstorPacket(Operation.QUERY_PROTOCOL_VERSION, body=ProtocolVersion(version).encode())
        answer = await exchange(question)
        if answer.operation != Operation.COMPLETE_IO:
            raise VmbusError(errno.EINVAL, f"storvsc: answer {answer.operation} to QUERY_PROTOCOL_VERSION")
        if answer.status == 0:
            return version
    raise VmbusError(errno.ENODEV, "storvsc: the host accepts none of our protocol versions")


async def _step(exchange: Exchange, packet: VstorPacket) -> VstorPacket:
    answer = await exchange(packet)
    if answer.operation != Operation.COMPLETE_IO or answer.status:
        name = Operation(packet.operation).name
        raise VmbusError(errno.EINVAL, f"storvsc: {name} answered with status {answer.status:#x}")
    return answer
