"""The frames of the network load: what they look like to strangers, and that nothing damaged passes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from guest.net.frame import ETH_ZLEN
from guest.programs.net_frame import Noise, Stamp, build, read

ADDRESS = bytes.fromhex("00155d000001")
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
STAMPS = st.builds(Stamp, run=U16, cpu=st.integers(0, 63), queue=st.integers(0, 63), sequence=U32)
LENGTHS = st.integers(ETH_ZLEN, 1514)


@given(STAMPS, LENGTHS, st.integers(0, 63))
def test_a_frame_is_as_long_as_wanted_and_carries_its_stamp_when_the_addresses_are_exchanged(
    stamp: Stamp, length: int, seed: int
) -> None:
    frame = build(ADDRESS, stamp, Noise(seed, stamp.cpu).bytes(length))
    assert len(frame) == length
    assert read(memoryview(frame[6:12] + frame[:6] + frame[12:])) == stamp


@given(STAMPS, LENGTHS)
def test_to_others_it_is_a_good_ipv4_header_with_udp_for_the_rest_of_the_frame(stamp: Stamp, length: int) -> None:
    frame = build(ADDRESS, stamp, bytes(length))
    words = struct.unpack(">10H", frame[14:34])
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF, "RFC 1071: a good checksum sums up to all ones"
    assert words[1] == length - 14
    assert struct.unpack(">4H", frame[34:42]) == (7, 7, length - 34, 0)


@given(STAMPS, LENGTHS, st.data())
def test_a_changed_bit_behind_the_addresses_is_seen(stamp: Stamp, length: int, data: st.DataObject) -> None:
    frame = bytearray(build(ADDRESS, stamp, Noise(1, 2).bytes(length)))
    bit = data.draw(st.integers(14 * 8, length * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    found = read(memoryview(frame))
    assert found is None or found.damaged


def test_what_others_send_has_no_stamp() -> None:
    assert read(memoryview(bytes(60))) is None
    assert read(memoryview(b"")) is None
