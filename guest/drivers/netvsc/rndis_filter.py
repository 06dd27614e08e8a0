"""The RNDIS side of setting a NIC up: initialize, what it can do, which frames it shall pass (rndis_filter.c)."""

from __future__ import annotations

import errno
from contextlib import suppress
from struct import pack
from typing import Final

from guest.drivers.netvsc.exchange import Exchange
from guest.drivers.netvsc.nic import Nic
from guest.vmbus.errors import VmbusError
from protocol.errors import PeerError
from protocol.wire.ndis import (
    OBJECT_OFFLOAD,
    OFFLOAD_PARAMETERS_SIZE_V4,
    OFFLOAD_SIZES,
    RSS_TABLE_SIZE,
    MediaState,
    Offload,
    OffloadParameters,
    OffloadSetting,
    Oid,
    PacketFilter,
    RssCapabilities,
    RssFlag,
    RssHash,
    RssParameters,
)
from protocol.wire.nvsp_numbers import NvspVersion

OPEN_FILTER: Final = PacketFilter.DIRECTED | PacketFilter.ALL_MULTICAST | PacketFilter.BROADCAST
HASH: Final = RssHash.TOEPLITZ | RssHash.IPV4 | RssHash.TCP_IPV4 | RssHash.IPV6 | RssHash.TCP_IPV6
HASH_KEY: Final = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
"""The key of the verification suite of Windows's RSS specification, which Linux uses too (``netvsc_hash_key``)."""


async def rndis_filter_device_add(nic: Nic) -> int:
    """Ask what Linux asks, in its order, and return how many receive queues the host has.

    Only the address and the offload capabilities must be there. Raises VmbusError.
    """
    exchange, device = nic.exchange, nic.device.words
    await exchange.initialize()
    with suppress(VmbusError):
        device.mtu = min(device.mtu, await _query_u32(exchange, Oid.GEN_MAXIMUM_FRAME_SIZE))
    device.address = int.from_bytes((await exchange.query(Oid.ADDRESS_802_3_PERMANENT))[:6], "little")
    with suppress(VmbusError):
        name = (await exchange.query(Oid.GEN_FRIENDLY_NAME)).decode("utf-16-le", "replace")
        device.alias = name.partition("\0")[0]
    await _set_hwcaps(nic)
    with suppress(VmbusError):
        connected = await _query_u32(exchange, Oid.GEN_MEDIA_CONNECT_STATUS) == MediaState.CONNECTED
        device.carrier = int(connected)
    if nic.words.nvsp_version < NvspVersion.V5:
        return 1
    with suppress(VmbusError):
        device.speed = await _query_u32(exchange, Oid.GEN_LINK_SPEED)
    try:
        asked = RssCapabilities(flags=0, interrupt_messages=0, receive_queues=0, table_entries=0).encode()
        found = await exchange.query(Oid.GEN_RECEIVE_SCALE_CAPABILITIES, asked)
        return RssCapabilities.decode(found).receive_queues
    except (VmbusError, PeerError):
        return 1


async def _query_u32(exchange: Exchange, oid: int) -> int:
    return int.from_bytes((await exchange.query(oid))[:4], "little")


async def _set_hwcaps(nic: Nic) -> None:
    """``rndis_netdev_set_hwcaps``. Simplified: as if the host had none: this guest's frames come complete."""
    version = nic.words.nvsp_version
    revision = 3 if version >= NvspVersion.V5 else 2 if version == NvspVersion.V4 else 1
    size = OFFLOAD_SIZES[revision]
    asked = pack("<BBH", OBJECT_OFFLOAD, revision, size).ljust(size, b"\0")
    found = await nic.exchange.query(Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES, asked)
    if len(found) < OFFLOAD_SIZES[1]:
        raise VmbusError(errno.EINVAL, f"netvsc: {len(found)} bytes of offload capabilities")
    capabilities = Offload.decode(found.ljust(Offload.layout.size, b"\0"))
    if (capabilities.object_type, capabilities.revision > 0) != (OBJECT_OFFLOAD, True):
        raise VmbusError(errno.EINVAL, "netvsc: the offload capabilities are none")
    parameters = OffloadParameters(
        size=OFFLOAD_PARAMETERS_SIZE_V4 if version <= NvspVersion.V4 else OffloadParameters.layout.size,
        ipv4_checksum=OffloadSetting.DISABLED,
    )
    await nic.exchange.set(Oid.TCP_OFFLOAD_PARAMETERS, parameters.encode()[: parameters.size])


async def set_packet_filter(nic: Nic, wanted: PacketFilter) -> None:
    """``rndis_filter_set_packet_filter``."""
    await nic.exchange.set(Oid.GEN_CURRENT_PACKET_FILTER, pack("<I", wanted))


async def set_rss_param(nic: Nic) -> None:
    """``rndis_filter_set_rss_param``: off with it first, then the table over all channels."""
    table = tuple(entry % nic.words.num_chn for entry in range(RSS_TABLE_SIZE))
    for flags in RssFlag.DISABLE, RssFlag(0):
        await nic.exchange.set(Oid.GEN_RECEIVE_SCALE_PARAMETERS, RssParameters(flags, HASH, table, HASH_KEY).encode())
