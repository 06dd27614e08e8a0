"""The frames of the network load: UDP in IPv4, with a stamp that says whose they are, and noise that a checksum covers.

The addresses depend on the stream alone, so each stream is one flow, and a host that spreads flows over queues (RSS)
spreads the streams. The Ethernet addresses are not covered, for an echo exchanges them.

    frame = Ethernet header | IPv4 header | UDP header | stamp | noise
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import shake_128
from struct import Struct
from typing import Final
from zlib import crc32

from guest.net.frame import ETH_HLEN

SENDERS: Final = (198, 18)
RECEIVERS: Final = (198, 19)
"""Networks for measurements (RFC 2544): no station that an operator has made answers instead of the echo."""
PORT: Final = 7
"""echo"""
_IPV4: Final = Struct(">BBHHHBBH4s4s")
_UDP: Final = Struct(">HHHH")
_STAMP: Final = Struct("<HHHII")
_IPV4_TYPE: Final = b"\x08\x00"
_UDP_AT: Final = ETH_HLEN + _IPV4.size
_STAMP_AT: Final = _UDP_AT + _UDP.size
_NOISE_AT: Final = _STAMP_AT + _STAMP.size
_UDP_PROTOCOL: Final = 17
_NOISE_BYTES: Final = 1 << 14
_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Stamp:
    """``run`` counts modulo 65536, ``sequence`` modulo 2 ** 32."""

    run: int
    cpu: int
    queue: int
    sequence: int
    damaged: bool = False


class Noise:
    """What is random about the frames of one CPU, and the same for the same seed: sizes, queues, contents."""

    def __init__(self, seed: int, cpu: int) -> None:
        key = seed.to_bytes(8, "little", signed=seed < 0) + cpu.to_bytes(8, "little")
        self._state = int.from_bytes(shake_128(key).digest(8), "little")
        self._bytes = shake_128(b"bytes" + key).digest(_NOISE_BYTES)

    def next(self) -> int:
        """32 random bits (a linear congruential generator with Knuth's constants; the upper half)."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return self._state >> 32

    def bytes(self, length: int) -> bytes:
        start = self.next() % (_NOISE_BYTES - length)
        return self._bytes[start : start + length]


def build(address: bytes, stamp: Stamp, noise: bytes) -> bytes:
    """A frame as long as ``noise``, of which the beginning is not used, from and to ``address``."""
    length = len(noise)
    source, target = (bytes((*net, stamp.cpu & 0xFF, stamp.queue)) for net in (SENDERS, RECEIVERS))
    ip = _ipv4(length - ETH_HLEN, source, target)
    udp = _UDP.pack(PORT, PORT, length - _UDP_AT, 0)
    fields = (stamp.run & 0xFFFF, stamp.cpu, stamp.queue, stamp.sequence & 0xFFFF_FFFF)
    tail = noise[_NOISE_AT:]
    crc = crc32(tail, crc32(ip + udp + _STAMP.pack(*fields, 0)))
    return address + address + _IPV4_TYPE + ip + udp + _STAMP.pack(*fields, crc) + tail


def read(frame: memoryview) -> Stamp | None:
    """The stamp of a frame, or None if it has none."""
    if (
        len(frame) < _NOISE_AT
        or bytes(frame[12:14]) != _IPV4_TYPE
        or _UDP.unpack_from(frame, _UDP_AT)[:2] != (PORT, PORT)
    ):
        return None
    run, cpu, queue, sequence, found = _STAMP.unpack_from(frame, _STAMP_AT)
    covered = bytes(frame[ETH_HLEN:_STAMP_AT]) + _STAMP.pack(run, cpu, queue, sequence, 0)
    return Stamp(run, cpu, queue, sequence, damaged=crc32(frame[_NOISE_AT:], crc32(covered)) != found)


def _ipv4(length: int, source: bytes, target: bytes) -> bytes:
    """A header without options; don't fragment."""
    fields = (0x45, 0, length, 0, 0x4000, 64, _UDP_PROTOCOL)
    header = _IPV4.pack(*fields, 0, source, target)
    total = sum(memoryview(header).cast("H"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + (~total & 0xFFFF).to_bytes(2, "little") + header[12:]
