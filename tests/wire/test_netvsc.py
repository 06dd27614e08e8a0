"""NVSP, RNDIS and NDIS: what is encoded can be decoded, and what is cut or misplaced is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import PeerError
from protocol.ids import GpadlId
from protocol.wire import ndis, nvsp, rndis
from protocol.wire.layout import ShortMessage
from protocol.wire.nvsp_numbers import NvspType
from protocol.wire.rndis import BadRndis, RndisType
from protocol.wire.rndis_packet import LargeSend, PacketInfo, Vlan, decode_packet, packet_header

FRAMES = st.binary(min_size=14, max_size=200)
INFORMATION = st.dictionaries(st.sampled_from(PacketInfo), st.binary(min_size=4, max_size=4), max_size=5)


def packet(frame: bytes, information: dict[int, bytes] | None = None) -> bytes:
    return packet_header(len(frame), information or {}) + frame


def whole(data: bytes) -> list[tuple[int, bytes]]:
    return [(kind, bytes(message)) for kind, message in rndis.split(data)]


def test_messages_of_nvsp_know_their_type() -> None:
    message = nvsp.ReceiveBuffer(GpadlId(0xE1E10)).encode()
    assert nvsp.type_of(message) == NvspType.SEND_RECV_BUF
    assert nvsp.ReceiveBuffer.decode(message + bytes(8)) == nvsp.ReceiveBuffer(GpadlId(0xE1E10), 0xCAFE)
    with pytest.raises(nvsp.WrongNvspType, match="101 where SEND_SEND_BUF"):
        nvsp.SendBuffer.decode(message)
    with pytest.raises(ShortMessage, match="msg_type"):
        nvsp.type_of(message[:3])
    with pytest.raises(ShortMessage, match="gpadl"):
        nvsp.ReceiveBuffer.decode(message[:6])


@given(st.lists(st.integers(0, 63), min_size=16, max_size=16))
def test_the_send_table_round_trips(channels: list[int]) -> None:
    assert list(nvsp.decode_send_table(nvsp.encode_send_table(channels))) == channels


def test_a_send_table_outside_of_its_message_is_refused() -> None:
    message = bytearray(nvsp.encode_send_table([0] * 16))
    message[8] += 1
    with pytest.raises(PeerError, match="send table: 16 entries at 41 of 104"):
        nvsp.decode_send_table(message)


@given(st.integers(0, 2**32 - 1), st.sampled_from(ndis.Oid), st.binary(max_size=600))
def test_a_query_carries_its_information(request: int, oid: ndis.Oid, value: bytes) -> None:
    message = rndis.Query(request, oid).with_information(value)
    assert whole(message) == [(RndisType.QUERY, message)]
    query = rndis.Query.decode(message)
    assert (query.request_id, query.oid) == (request, oid)
    assert bytes(query.information(message)) == value


def test_information_outside_of_its_message_is_refused() -> None:
    message = rndis.Set(1, ndis.Oid.GEN_CURRENT_PACKET_FILTER, length=4, offset=20).encode()
    with pytest.raises(BadRndis, match="SET: 4 bytes at 20 of 20"):
        rndis.Set.decode(message).information(message)
    with pytest.raises(BadRndis, match="0x5 where QUERY"):
        rndis.Query.decode(message)


@given(st.lists(FRAMES, max_size=8), INFORMATION)
def test_packets_back_to_back_come_out_one_by_one(frames: list[bytes], information: dict[int, bytes]) -> None:
    batch = b"".join(packet(frame, information) for frame in frames)
    taken = [decode_packet(message) for _, message in rndis.split(batch)]
    assert [(bytes(frame), infos) for frame, infos in taken] == [(frame, information) for frame in frames]


def test_a_batch_is_good_up_to_the_message_that_is_cut() -> None:
    good = packet(b"a" * 60)
    messages = rndis.split(good + good[:-1])
    kind, first = next(messages)
    assert (kind, bytes(first)) == (RndisType.PACKET, good)
    with pytest.raises(BadRndis, match="of 104 bytes in 103"):
        next(messages)


@given(st.binary(max_size=120))
def test_no_bytes_whatever_do_more_harm_than_an_error(data: bytes) -> None:
    try:
        for _, message in rndis.split(data):
            decode_packet(message)
    except PeerError:
        pass


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [(8, 200, "frame"), (12, 200, "frame"), (28, 999, "information"), (44, 8, "per-packet"), (52, 17, "per-packet")],
)
def test_a_packet_whose_offsets_lead_outside_is_refused(at: int, value: int, why: str) -> None:
    message = bytearray(packet(b"b" * 60, {PacketInfo.HASH_VALUE: b"hash"}))
    message[at] = value & 0xFF
    message[at + 1] = value >> 8
    with pytest.raises(BadRndis, match=why):
        decode_packet(message)


@given(
    st.builds(LargeSend, st.integers(0, 2**20 - 1), st.integers(0, 1023), st.booleans()),
    st.builds(Vlan, st.integers(0, 4095), st.integers(0, 7), st.integers(0, 1)),
)
def test_large_send_and_vlan_round_trip(lso: LargeSend, vlan: Vlan) -> None:
    assert LargeSend.decode(lso.encode()) == lso
    assert Vlan.decode(vlan.encode()) == vlan


@given(st.lists(st.integers(0, 63), max_size=256), st.binary(max_size=40))
def test_rss_parameters_round_trip(table: list[int], key: bytes) -> None:
    parameters = ndis.RssParameters(ndis.RssFlag(0), ndis.RssHash.TOEPLITZ, tuple(table), key)
    assert ndis.RssParameters.decode(parameters.encode()) == parameters


def test_rss_parameters_whose_key_is_cut_are_refused() -> None:
    value = ndis.RssParameters(ndis.RssFlag(0), ndis.RssHash.TOEPLITZ, (0, 1), bytes(40)).encode()
    with pytest.raises(PeerError, match="RSS parameters end at 88 of 87"):
        ndis.RssParameters.decode(value[:-1])
