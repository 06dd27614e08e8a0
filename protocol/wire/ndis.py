"""What RNDIS queries and sets: object identifiers and the NDIS structures behind the larger ones (hyperv_net.h)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Self

from protocol.errors import PeerError
from protocol.wire.fields import u8, u16, u32
from protocol.wire.layout import Readable, Structure, structure

OBJECT_DEFAULT: Final = 0x80
OBJECT_RSS_CAPABILITIES: Final = 0x88
OBJECT_RSS_PARAMETERS: Final = 0x89
OBJECT_OFFLOAD: Final = 0xA7


class Oid(IntEnum):
    """In the order in which Linux comes to them (``RNDIS_OID_*``, ``OID_*``)."""

    GEN_MAXIMUM_FRAME_SIZE = 0x00010106
    ADDRESS_802_3_PERMANENT = 0x01010101
    GEN_FRIENDLY_NAME = 0x00020216
    TCP_OFFLOAD_HARDWARE_CAPABILITIES = 0xFC01020D
    TCP_OFFLOAD_PARAMETERS = 0xFC01020C
    GEN_MEDIA_CONNECT_STATUS = 0x00010114
    GEN_LINK_SPEED = 0x00010107
    GEN_RECEIVE_SCALE_CAPABILITIES = 0x00010203
    GEN_RECEIVE_SCALE_PARAMETERS = 0x00010204
    GEN_CURRENT_PACKET_FILTER = 0x0001010E
    GEN_RNDIS_CONFIG_PARAMETER = 0x0001021B
    GEN_NETWORK_LAYER_ADDRESSES = 0x00010118


class PacketFilter(IntFlag):
    """Which frames the guest wants (``NDIS_PACKET_TYPE_*``). 0: none."""

    DIRECTED = 0x01
    MULTICAST = 0x02
    ALL_MULTICAST = 0x04
    BROADCAST = 0x08
    PROMISCUOUS = 0x20


class MediaState(IntEnum):
    """Value of GEN_MEDIA_CONNECT_STATUS."""

    CONNECTED = 0
    DISCONNECTED = 1


class RssCapability(IntFlag):
    """``NDIS_RSS_CAPS_HASH_TYPE_*`` over the number of the hash function, 1 for Toeplitz."""

    TOEPLITZ = 0x001
    TCP_IPV4 = 0x100
    TCP_IPV6 = 0x200


class RssFlag(IntFlag):
    """``NDIS_RSS_PARAM_FLAG_*``: what a set of the parameters leaves as it is."""

    BASE_CPU_UNCHANGED = 0x01
    HASH_INFO_UNCHANGED = 0x02
    TABLE_UNCHANGED = 0x04
    KEY_UNCHANGED = 0x08
    DISABLE = 0x10


class RssHash(IntFlag):
    """``NDIS_HASH_*``: the function and what it is computed over."""

    TOEPLITZ = 0x0001
    IPV4 = 0x0100
    TCP_IPV4 = 0x0200
    IPV6 = 0x0400
    TCP_IPV6 = 0x1000


RSS_KEY_SIZE: Final = 40
RSS_TABLE_SIZE: Final = 128
"""Entries, ``ITAB_NUM``."""


@structure()
class RssCapabilities(Structure):
    """Value of GEN_RECEIVE_SCALE_CAPABILITIES (``ndis_recv_scale_cap``), 18 bytes."""

    object_type: int = u8(0, default=OBJECT_RSS_CAPABILITIES)
    revision: int = u8(1, default=2)
    size: int = u16(2, default=18)
    flags: int = u32(4, default=RssCapability.TOEPLITZ | RssCapability.TCP_IPV4 | RssCapability.TCP_IPV6)
    interrupt_messages: int = u32(8, default=1)
    receive_queues: int = u32(12, default=1)
    table_entries: int = u16(16, default=RSS_TABLE_SIZE)


@structure(size=40)
class RssHeader(Structure):
    """The fixed part of the RSS parameters (``ndis_recv_scale_param``); sizes and offsets in bytes from its start."""

    object_type: int = u8(0, default=OBJECT_RSS_PARAMETERS)
    revision: int = u8(1, default=2)
    size: int = u16(2, default=40)
    flags: int = u16(4, default=0)
    base_cpu: int = u16(6, default=0)
    hash_info: int = u32(8, default=0)
    table_size: int = u16(12, default=0)
    table_offset: int = u32(16, default=0)
    key_size: int = u16(20, default=0)
    key_offset: int = u32(24, default=0)


@dataclass(frozen=True, slots=True)
class RssParameters:
    """Value of GEN_RECEIVE_SCALE_PARAMETERS: ``table`` are channel numbers, ``key`` is the Toeplitz key."""

    flags: RssFlag
    hash_info: RssHash
    table: tuple[int, ...]
    key: bytes

    def encode(self) -> bytes:
        size = RssHeader.layout.size
        table = struct.pack(f"<{len(self.table)}I", *self.table)
        header = RssHeader(
            flags=self.flags,
            hash_info=self.hash_info,
            table_size=len(table),
            table_offset=size,
            key_size=len(self.key),
            key_offset=size + len(table),
        )
        return header.encode() + table + self.key

    @classmethod
    def decode(cls, data: Readable) -> Self:
        """Raises PeerError if the table or the key is not inside ``data``."""
        header = RssHeader.decode(data)
        end = max(header.table_offset + header.table_size, header.key_offset + header.key_size)
        if end > len(data):
            raise PeerError(f"RSS parameters end at {end} of {len(data)} bytes")
        table: Sequence[int] = struct.unpack_from(f"<{header.table_size // 4}I", data, header.table_offset)
        key = bytes(data[header.key_offset : header.key_offset + header.key_size])
        return cls(RssFlag(header.flags), RssHash(header.hash_info), tuple(table), key)


ENCAPSULATION_8023: Final = 2
"""``NDIS_OFFLOAD_ENCAP_8023``: an offload exists for Ethernet frames."""


class ChecksumV4(IntFlag):
    """``NDIS_TXCSUM_CAP_*`` and ``NDIS_RXCSUM_CAP_*`` for IPv4."""

    IP_OPTIONS = 0x001
    TCP_OPTIONS = 0x004
    TCP = 0x010
    UDP = 0x040
    IP = 0x100


class ChecksumV6(IntFlag):
    """The same for IPv6."""

    EXTENSION_HEADERS = 0x001
    TCP_OPTIONS = 0x004
    TCP = 0x010
    UDP = 0x040


OFFLOAD_SIZES: Final = {1: 112, 2: 144, 3: 156}
"""Bytes of ``struct ndis_offload`` by revision; Linux asks for 3 from NVSP 5 on, 2 with 4, 1 before."""


@structure(size=156)
class Offload(Structure):
    """Value of TCP_OFFLOAD_HARDWARE_CAPABILITIES (``ndis_offload``). All zero: the guest does everything itself.

    LSO version 1 and IPsec are left out: nobody offers them.
    """

    object_type: int = u8(0, default=OBJECT_OFFLOAD)
    revision: int = u8(1, default=3)
    size: int = u16(2, default=156)
    ipv4_transmit_encapsulation: int = u32(4, default=0)
    ipv4_transmit_checksum: int = u32(8, default=0)
    ipv4_receive_encapsulation: int = u32(12, default=0)
    ipv4_receive_checksum: int = u32(16, default=0)
    ipv6_transmit_encapsulation: int = u32(20, default=0)
    ipv6_transmit_checksum: int = u32(24, default=0)
    ipv6_receive_encapsulation: int = u32(28, default=0)
    ipv6_receive_checksum: int = u32(32, default=0)
    lso_ipv4_encapsulation: int = u32(80, default=0)
    lso_ipv4_max_size: int = u32(84, default=0)
    lso_ipv4_min_segments: int = u32(88, default=0)
    lso_ipv6_encapsulation: int = u32(92, default=0)
    lso_ipv6_max_size: int = u32(96, default=0)
    lso_ipv6_min_segments: int = u32(100, default=0)
    lso_ipv6_options: int = u32(104, default=0)
    flags: int = u32(108, default=0)
    rsc_ipv4: int = u8(144, default=0)
    rsc_ipv6: int = u8(145, default=0)


class OffloadSetting(IntEnum):
    """Values in ``OffloadParameters``: of checksums, and ENABLED or DISABLED of LSO and RSC."""

    NO_CHANGE = 0
    DISABLED = 1
    TRANSMIT = 2
    RECEIVE = 3
    BOTH = 4
    LSO_ENABLED = 2


OFFLOAD_PARAMETERS_SIZE_V4: Final = 22
"""How much of ``OffloadParameters`` Linux sends up to NVSP 4 (``VERSION_4_OFFLOAD_SIZE``)."""


@structure(size=28)
class OffloadParameters(Structure):
    """Value of TCP_OFFLOAD_PARAMETERS (``ndis_offload_params``)."""

    object_type: int = u8(0, default=OBJECT_DEFAULT)
    revision: int = u8(1, default=3)
    size: int = u16(2, default=28)
    ipv4_checksum: int = u8(4, default=0)
    tcp_ipv4_checksum: int = u8(5, default=0)
    udp_ipv4_checksum: int = u8(6, default=0)
    tcp_ipv6_checksum: int = u8(7, default=0)
    udp_ipv6_checksum: int = u8(8, default=0)
    lso_v1: int = u8(9, default=0)
    ipsec_v1: int = u8(10, default=0)
    lso_v2_ipv4: int = u8(11, default=0)
    lso_v2_ipv6: int = u8(12, default=0)
