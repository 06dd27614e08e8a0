"""The stations behind the echo."""

from ipaddress import IPv4Address

from hypothesis import example, given
from hypothesis import strategies as st

from host.vsp.net.echo import mirrored
from host.vsp.net.station import Stations
from tests.vsp.netvsc import MAC, PEER, frame, tcp

BROADCAST = b"\xff" * 6


def test_what_is_for_many_is_not_mirrored() -> None:
    assert mirrored(frame(b"", MAC, BROADCAST)) is None
    assert mirrored(frame(b"", MAC, b"\x33\x33\0\0\0\1")) is None


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@given(st.binary(max_size=100) | st.integers(0, 0xFFFF).map(lambda number: number.to_bytes(2, "big")))
@example(b"\xf8\x00")
@example(b"")
def test_a_station_answers_ping_with_a_right_checksum(payload: bytes) -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    body = bytes(4) + payload
    echo = b"\x08\0" + checksum(b"\x08\0\0\0" + body).to_bytes(2, "big") + body
    ip = b"\x45\0" + (20 + len(echo)).to_bytes(2, "big") + bytes(5) + b"\x01\0\0" + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    reply = stations.answer(frame(ip + echo, MAC, PEER, b"\x08\x00"))
    assert reply is not None
    assert reply[:14] == MAC + PEER + b"\x08\x00"
    assert reply[26:34] == bytes([10, 0, 0, 2, 10, 0, 0, 1])
    assert reply[34] == 0 and reply[38:] == body
    assert checksum(reply[34:]) in (0, 0xFFFF)


def test_a_ping_without_its_header_has_no_answer() -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    ip = b"\x45\0" + bytes(7) + b"\x01\0\0" + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    for length in range(7):
        assert stations.answer(frame(ip + b"\x08" + bytes(length), MAC, PEER, b"\x08\x00")) is None


def test_a_station_is_silent_when_it_is_not_meant() -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    for data in (b"", tcp(1), bytes(60), b"\x46" + bytes(60)):
        for kind in (b"\x08\x00", b"\x08\x06", b"\x86\xdd"):
            for cut in range(0, 60, 7):
                assert stations.answer(frame(data[:cut], MAC, PEER, kind)) is None


def ipv4(protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    head = b"\x45\0" + (20 + len(payload)).to_bytes(2, "big") + bytes(2) + fragment.to_bytes(2, "big") + b"\x40"
    return head + bytes([protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]) + payload


def test_a_station_sends_datagrams_back_and_later_fragments_as_they_are() -> None:
    stations = Stations([IPv4Address("10.0.0.2")], PEER)
    first = stations.answer(frame(ipv4(17, b"\x12\x34\x00\x07\0\x0cccdata", 0x2000), MAC, PEER, b"\x08\x00"))
    later = stations.answer(frame(ipv4(17, b"more data", 0x0001), MAC, PEER, b"\x08\x00"))
    echoed = stations.answer(frame(ipv4(1, b"rest of a ping", 0x0001), MAC, PEER, b"\x08\x00"))
    assert first and first[34:] == b"\x00\x07\x12\x34\0\x0cccdata"
    assert later and later[26:] == bytes([10, 0, 0, 2, 10, 0, 0, 1]) + b"more data"
    assert echoed and echoed[34:] == b"rest of a ping"
    assert stations.answer(frame(ipv4(6, b"a segment"), MAC, PEER, b"\x08\x00")) is None


def test_each_station_is_found_by_arp_and_nobody_else() -> None:
    stations = Stations([IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")], PEER)
    question = bytes.fromhex("0001080006040001") + MAC + bytes([10, 0, 0, 1]) + bytes(6)
    for host in (2, 3):
        reply = stations.answer(frame(question + bytes([10, 0, 0, host]), MAC, BROADCAST, b"\x08\x06"))
        answer = bytes.fromhex("0001080006040002") + PEER + bytes([10, 0, 0, host]) + MAC + bytes([10, 0, 0, 1])
        assert reply == frame(answer, PEER, MAC, b"\x08\x06")
    assert stations.answer(frame(question + bytes([10, 0, 0, 1]), MAC, BROADCAST, b"\x08\x06")) is None
