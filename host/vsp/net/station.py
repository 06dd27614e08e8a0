"""Stations on the echo's wire: they have IPv4 addresses and answer ARP, ping, and UDP on every port."""

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Final

ARP, IPV4 = b"\x08\x06", b"\x08\x00"
ARP_IPV4: Final = b"\x00\x01\x08\x00\x06\x04"
REQUEST, REPLY = b"\x00\x01", b"\x00\x02"
ICMP, UDP = 1, 17
ECHO_REQUEST: Final = 8
ECHO_HEADER: Final = 8
"""Bytes of type, code, checksum, identifier and sequence number."""
NO_OPTIONS: Final = 0x45
"""Version 4, a header of 5 words."""
REPLY_IS_LESS: Final = 0x0800
"""What the sum of an ICMP echo loses when its type becomes 0."""


class Stations:
    """``answer`` is an ``Answer``. All have one Ethernet address. IP packets with options get no answer."""

    def __init__(self, ips: Iterable[IPv4Address], address: bytes) -> None:
        self._ips = frozenset(ip.packed for ip in ips)
        self._address = address

    def answer(self, frame: bytes) -> bytes | None:
        """The reply to a frame that is for one of them."""
        match frame[12:14]:
            case kind if kind == ARP and frame[38:42] in self._ips:
                return self._arp(frame)
            case kind if kind == IPV4 and frame[30:34] in self._ips and frame[14] == NO_OPTIONS:
                return self._ip(frame)
            case _:
                return None

    def _arp(self, frame: bytes) -> bytes | None:
        """Who has this address? I do (RFC 826)."""
        if frame[14:22] != ARP_IPV4 + REQUEST:
            return None
        sender, asked = frame[22:32], frame[38:42]
        return sender[:6] + self._address + ARP + ARP_IPV4 + REPLY + self._address + asked + sender

    def _ip(self, frame: bytes) -> bytes | None:
        """Fragment by fragment: only the first has a header of UDP or ICMP."""
        headers = frame[6:12] + self._address + frame[12:26] + frame[30:34] + frame[26:30]
        first = not int.from_bytes(frame[20:22], "big") & 0x1FFF
        match frame[23]:
            case kind if kind == UDP:
                return headers + (_exchanged_ports(frame[34:]) if first else frame[34:])
            case kind if kind == ICMP and not first:
                return headers + frame[34:]
            case kind if kind == ICMP and len(frame) >= 34 + ECHO_HEADER and frame[34] == ECHO_REQUEST:
                return headers + _echo_reply(frame[34:])
            case _:
                return None


def _exchanged_ports(datagram: bytes) -> bytes:
    """The checksum stays what it is, as with the addresses."""
    return datagram[2:4] + datagram[:2] + datagram[4:]


def _echo_reply(message: bytes) -> bytes:
    """Type 0, and the checksum that goes with it (RFC 1624)."""
    checksum = int.from_bytes(message[2:4], "big") + REPLY_IS_LESS
    checksum = (checksum & 0xFFFF) + (checksum >> 16)
    return bytes((0, message[1])) + checksum.to_bytes(2, "big") + message[4:]
