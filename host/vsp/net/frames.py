"""Between an Ethernet frame and an RNDIS data message."""

from typing import Final

from protocol.errors import PeerError
from protocol.wire.ndis import PacketFilter
from protocol.wire.rndis_packet import PacketInfo, Vlan, decode_packet, packet_header

ETHERNET_HEADER: Final = 14
VLAN_TAG: Final = 4
BROADCAST: Final = b"\xff" * 6
# Plain numbers: an IntFlag takes ten times as long to look at, and this is done for each frame.
PROMISCUOUS: Final = int(PacketFilter.PROMISCUOUS)
BROADCASTS: Final = int(PacketFilter.BROADCAST)
MULTICASTS: Final = int(PacketFilter.MULTICAST | PacketFilter.ALL_MULTICAST)
DIRECTED: Final = int(PacketFilter.DIRECTED)
OFFLOADS: Final = (PacketInfo.CHECKSUM, PacketInfo.LARGE_SEND)


def frame_of(message: memoryview, mtu: int) -> bytes:
    """The frame of a data message, with its VLAN tag, which Linux always sends on the side.

    Raises PeerError: no Ethernet frame, one that is too long, or an offload that was never offered.
    """
    view, information = decode_packet(message)
    frame = bytes(view)
    if not ETHERNET_HEADER <= len(frame) <= ETHERNET_HEADER + VLAN_TAG + mtu:
        raise PeerError(f"netvsc: frame of {len(frame)} bytes, the MTU is {mtu}")
    for offload in OFFLOADS:
        if offload in information:
            raise PeerError(f"netvsc: frame with {offload.name} work for the host, which offers none")
    tag = information.get(PacketInfo.VLAN)
    if tag is None:
        return frame
    if len(tag) < 4:
        raise PeerError(f"netvsc: VLAN information of {len(tag)} bytes")
    vlan = Vlan.decode(tag)
    tci = vlan.priority << 13 | vlan.cfi << 12 | vlan.id
    return frame[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + frame[12:]


def message_of(frame: bytes, hash_value: int | None) -> bytes:
    """The data message for the guest. No checksum information: the guest verifies what it gets."""
    if hash_value is None:
        return packet_header(len(frame)) + frame
    return packet_header(len(frame), {PacketInfo.HASH_VALUE: hash_value.to_bytes(4, "little")}) + frame


def wanted(frame: bytes, accepted: int, address: bytes) -> bool:
    """Whether the guest's ``PacketFilter`` lets a frame through. Multicast lists are not kept: all or none."""
    destination = frame[:6]
    if accepted & PROMISCUOUS:
        return True
    if destination == BROADCAST:
        return bool(accepted & BROADCASTS)
    if destination[0] & 1:
        return bool(accepted & MULTICASTS)
    return destination == address and bool(accepted & DIRECTED)
