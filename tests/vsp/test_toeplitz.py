"""The hash against the vectors that Microsoft publishes ("Verifying the RSS hash calculation")."""

from ipaddress import ip_address

import pytest

from host.vsp.net.rss import flow
from host.vsp.net.toeplitz import toeplitz
from protocol.wire.ndis import RssHash

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ALL = RssHash.IPV4 | RssHash.TCP_IPV4 | RssHash.IPV6 | RssHash.TCP_IPV6

VECTORS = [
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x02D1FEEF),
]


def packet(source: str, source_port: int, to: str, port: int, protocol: int = 6) -> bytes:
    addresses = ip_address(source).packed + ip_address(to).packed
    ports = source_port.to_bytes(2, "big") + port.to_bytes(2, "big")
    if len(addresses) == 8:
        return bytes(12) + b"\x08\x00\x45" + bytes(8) + bytes([protocol]) + bytes(2) + addresses + ports
    return bytes(12) + b"\x86\xdd\x60" + bytes(5) + bytes([protocol]) + bytes(1) + addresses + ports


@pytest.mark.parametrize(("source", "source_port", "to", "port", "over_ip", "over_tcp"), VECTORS)
def test_published_vectors(source: str, source_port: int, to: str, port: int, over_ip: int, over_tcp: int) -> None:
    tcp = packet(source, source_port, to, port)
    udp = packet(source, source_port, to, port, protocol=17)
    assert toeplitz(KEY, flow(tcp, ALL) or b"") == over_tcp
    assert toeplitz(KEY, flow(udp, ALL) or b"") == over_ip
    assert toeplitz(KEY, flow(tcp, RssHash.IPV4 | RssHash.IPV6) or b"") == over_ip
    assert flow(tcp, RssHash(0)) is None
    tagged = tcp[:12] + b"\x81\x00\x00\x05" + tcp[12:]
    assert flow(tagged, ALL) == flow(tcp, ALL)


def test_fragments_go_with_their_addresses() -> None:
    fragment = bytearray(packet("66.9.149.187", 2794, "161.142.100.80", 1766))
    fragment[20] = 0x20
    assert toeplitz(KEY, flow(bytes(fragment), ALL) or b"") == 0x323E8FC2


@pytest.mark.parametrize("cut", range(54))
def test_a_frame_that_is_cut_short_has_no_flow_or_a_short_one(cut: int) -> None:
    flow(packet("::1", 1, "::2", 2)[:cut], ALL)
    flow(packet("1.2.3.4", 1, "2.3.4.5", 2)[:cut], ALL)
