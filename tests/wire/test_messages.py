"""Control messages go through the wire unchanged, in every dialect, and wrong ones are named."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, GpadlId, Relid, VpIndex
from protocol.wire import messages
from protocol.wire.fields import TAIL, Field
from protocol.wire.messages import (
    REGISTRY,
    ControlMessage,
    DoesNotFit,
    InitiateContact,
    OpenChannel,
    ShortMessage,
    TlConnectRequest,
    UnknownMessage,
    VersionResponse,
    decode,
    encode,
    may_send,
)
from protocol.wire.versions import Dialect, Feature, Version

DIALECTS = st.builds(Dialect, st.sampled_from(Version), st.integers(0, 0xFF).map(Feature))
SILO = UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
LIMIT = 240


def values_for(spec: Field) -> st.SearchStrategy[Any]:
    """Every value that the field can carry."""
    if spec.code == TAIL:
        return st.lists(st.integers(0, 2**64 - 1), max_size=27).map(tuple)
    if spec.code == "16s":
        return st.uuids()
    if spec.code.endswith("s"):
        return st.binary(min_size=spec.size, max_size=spec.size)
    return st.integers(0, 1 if spec.to_wire else 256**spec.size - 1)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[ControlMessage, Dialect]:
    """A message and a dialect in which it can be said."""
    kind, dialect = draw(st.sampled_from(sorted(REGISTRY.values(), key=lambda k: k.number))), draw(DIALECTS)
    fields: dict[str, Any] = {}
    version, features = int(dialect.version), int(dialect.features)
    if kind is InitiateContact:
        fields = {"version": version, "feature_flags": features if version >= Version.V6_0 else 0}
    if kind is VersionResponse:
        fields = {"supported": draw(st.integers(0, 1))}
        if not fields["supported"]:
            version = 0
        elif version >= Version.V6_0:
            fields["features"] = features
    for name, spec in kind.specs.items():
        if name not in fields and spec.exists_in(version, features):
            fields[name] = draw(values_for(spec))
    return kind(**fields), dialect


@given(exchanges())
def test_what_one_side_says_the_other_hears(exchange: tuple[ControlMessage, Dialect]) -> None:
    message, dialect = exchange
    data = encode(message, dialect)
    assert len(data) <= LIMIT
    assert decode(data, dialect) == message
    assert decode(memoryview(data), dialect) == message


@given(exchanges())
def test_a_longer_message_is_heard_as_well(exchange: tuple[ControlMessage, Dialect]) -> None:
    message, dialect = exchange
    data = encode(message, dialect)
    padded = decode(data.ljust(LIMIT, b"\0"), dialect)
    if isinstance(message, messages.GpadlHeader | messages.GpadlBody):
        assert isinstance(padded, messages.GpadlHeader | messages.GpadlBody)
        assert padded.words[: len(message.words)] == message.words
    elif isinstance(message, TlConnectRequest) and dialect.version >= Version.V5_2:
        assert isinstance(padded, TlConnectRequest)
        assert padded.endpoint_id == message.endpoint_id
    elif isinstance(message, VersionResponse) and message.supported and dialect.version >= Version.V6_0:
        assert isinstance(padded, VersionResponse)
        assert padded.features == message.features
    else:
        assert padded == message


@given(exchanges(), st.data())
def test_a_shorter_message_is_refused_with_its_name(
    exchange: tuple[ControlMessage, Dialect], data: st.DataObject
) -> None:
    message, dialect = exchange
    whole = encode(message, dialect)
    fixed = len(whole) - 8 * len(getattr(message, "words", ()))
    if isinstance(message, VersionResponse | TlConnectRequest):
        fixed = 16 if isinstance(message, VersionResponse) else 40  # the other forms are told by their size
    cut = whole[: data.draw(st.integers(0, fixed - 1))]
    with pytest.raises(ShortMessage, match=message.name if len(cut) >= messages.HEADER_SIZE else "control message"):
        decode(cut, dialect)


@given(st.integers(0, 31), st.binary(max_size=LIMIT), DIALECTS)
def test_any_bytes_are_a_message_or_a_peer_error(number: int, rest: bytes, dialect: Dialect) -> None:
    with suppress(PeerError):
        decode(number.to_bytes(4, "little") + rest, dialect)


def test_there_are_29_messages_and_a_30th_is_unknown() -> None:
    assert sorted(REGISTRY) == list(range(1, 30))
    for number in (0, 30, 0xFFFF_FFFF):
        with pytest.raises(UnknownMessage, match=str(number)):
            decode(number.to_bytes(8, "little"), Dialect(Version.V6_0))


def test_a_short_message_names_the_first_field_that_is_cut() -> None:
    whole = encode(messages.GpadlCreated(Relid(5), GpadlId(6), 0), Dialect(Version.V5_3))
    with pytest.raises(ShortMessage, match=r"GPADL_CREATED: 18 bytes, but status ends at 20"):
        decode(whole[:18], Dialect(Version.V5_3))


SIZES_BELOW_6_0 = {
    **dict.fromkeys((3, 4, 16, 17, 27, 28, 29), 8),
    **dict.fromkeys((2, 7, 12, 13, 20), 12),
    **dict.fromkeys((11, 15, 22, 24), 16),
    **dict.fromkeys((6, 10, 19), 20),
    1: 196,
    5: 148,
    8: 20,
    9: 16,
    14: 40,
    18: 28,
    21: 40,
    23: 44,
    25: 24,
    26: 9,
}


@pytest.mark.parametrize("number", REGISTRY)
def test_sizes_of_the_short_forms(number: int) -> None:
    """Those of Linux are checked against its headers too; types 18 to 20, 23 and 25 on are OpenVMM's."""
    assert REGISTRY[number].layout(Version.WIN10).size == SIZES_BELOW_6_0[number]


OFFSETS_OF_OPENVMM = {
    messages.OpenReservedChannel: [("relid", 8), ("target_vp", 12), ("target_sint", 16), ("ring_gpadl", 20)],
    messages.CloseReservedChannel: [("relid", 8), ("target_vp", 12), ("target_sint", 16)],
    messages.TlConnectResult: [("endpoint_id", 8), ("service_id", 24), ("status", 40)],
    messages.ModifyConnection: [("parent_to_child_monitor", 8), ("child_to_parent_monitor", 16)],
    messages.OpenChannel: [("connection_id", 148), ("event_flag", 152), ("open_flags", 154)],
    messages.InitiateContact: [("sint", 16), ("vtl", 17), ("feature_flags", 20), ("client_id", 40)],
    messages.VersionResponse: [("features", 16), ("parent_to_child_monitor", 24), ("child_to_parent_monitor", 32)],
    messages.TlConnectRequest: [("silo_id", 40)],
}


@pytest.mark.parametrize("kind", OFFSETS_OF_OPENVMM)
def test_fields_that_linux_6_1_lacks_lie_as_in_openvmm(kind: type[ControlMessage]) -> None:
    layout = kind.layout(Version.V6_0, 0xFF)
    assert [(name, layout.fields[name][0]) for name, _ in OFFSETS_OF_OPENVMM[kind]] == OFFSETS_OF_OPENVMM[kind]


def open_channel(**more: Any) -> OpenChannel:
    return OpenChannel(Relid(7), 7, GpadlId(0xE1E10), VpIndex(3), 4, bytes(24), **more)


def test_open_is_long_only_in_6_0_with_one_of_two_features() -> None:
    signal, redirect = Feature.GUEST_SPECIFIED_SIGNAL_PARAMETERS, Feature.CHANNEL_INTERRUPT_REDIRECTION
    for plain in (Dialect(Version.V5_3, signal | redirect), Dialect(Version.V6_0, Feature.PAUSE_RESUME)):
        assert len(encode(open_channel(), plain)) == 148
    chosen = open_channel(connection_id=ConnectionId(0x2007), event_flag=9, open_flags=messages.REDIRECT_INTERRUPT)
    assert len(encode(chosen, Dialect(Version.V6_0, signal | redirect))) == 156
    redirected = encode(open_channel(open_flags=1), Dialect(Version.V6_0, redirect))
    assert len(redirected) == 156
    with pytest.raises(ShortMessage, match="open_flags"):
        decode(redirected[:148], Dialect(Version.V6_0, redirect))


def test_a_value_that_the_dialect_has_no_field_for_is_refused_and_not_lost() -> None:
    with pytest.raises(DoesNotFit, match=r"OPENCHANNEL\.event_flag"):
        encode(open_channel(event_flag=9), Dialect(Version.V5_3))
    with pytest.raises(DoesNotFit, match=r"INITIATE_CONTACT\.vtl"):
        encode(InitiateContact(Version.V5_0, VpIndex(0), vtl=2), Dialect(Version.V5_0))


def test_a_value_that_does_not_fit_is_the_senders_mistake_and_is_named() -> None:
    with pytest.raises(DoesNotFit, match=r"RELID_RELEASED\.relid: cannot be 4294967296") as refused:
        encode(messages.RelidReleased(Relid(1 << 32)), Dialect(Version.V5_3))
    assert isinstance(refused.value, OperatorError)
    with pytest.raises(DoesNotFit, match=r"OPENCHANNEL\.open_flags: cannot be None"):
        encode(
            open_channel(connection_id=ConnectionId(1), event_flag=1),
            Dialect(Version.V6_0, Feature.GUEST_SPECIFIED_SIGNAL_PARAMETERS),
        )


def test_contact_tells_its_own_form_whatever_the_receiver_thinks() -> None:
    old = InitiateContact(Version.WIN10, VpIndex(2), interrupt_page=0x1234_5000)
    new = InitiateContact(Version.V6_0, VpIndex(2), feature_flags=Feature.CLIENT_ID, client_id=SILO)
    unborn = InitiateContact(0x0009_0000, VpIndex(2), sint=7, vtl=1, feature_flags=0x8000_0000)
    for message, size in ((old, 40), (new, 56), (unborn, 40)):
        data = encode(message, Dialect(Version.WS2008))
        assert len(data) == size
        assert decode(data, Dialect(Version.WS2008)) == message
    with pytest.raises(ShortMessage, match="client_id"):
        decode(encode(new, Dialect(Version.V6_0))[:40], Dialect(Version.V6_0))


def test_vtl_and_features_are_not_read_from_versions_that_have_none() -> None:
    data = bytearray(encode(InitiateContact(Version.V5_0, VpIndex(0)), Dialect(Version.V5_0)))
    data[17] = 2
    data[20] = Feature.CLIENT_ID
    assert decode(data, Dialect(Version.V5_0)) == InitiateContact(Version.V5_0, VpIndex(0))


def test_a_refusal_of_the_version_has_16_bytes_in_every_version() -> None:
    for version in Version:
        assert encode(VersionResponse(0), Dialect(version)) == (15).to_bytes(16, "little")


def test_the_answer_grows_with_what_it_grants() -> None:
    six, pages = Dialect(Version.V6_0), Feature.SERVER_SPECIFIED_MONITOR_PAGES
    assert len(encode(VersionResponse(1, 0, 1), Dialect(Version.V5_3))) == 16
    assert len(encode(VersionResponse(1, 0, 1, 0), six)) == 20
    full = VersionResponse(1, 0, 1, pages, 0, 0x5000)
    data = encode(full, six)
    assert len(data) == 40
    assert decode(data, six) == full
    with pytest.raises(ShortMessage, match="parent_to_child_monitor"):
        decode(data[:20], six)


def test_the_silo_id_is_there_if_the_version_has_it_and_the_message_is_long_enough() -> None:
    aware, unaware = TlConnectRequest(SILO, SILO, SILO), TlConnectRequest(SILO, SILO)
    old, new = Dialect(Version.V5_1), Dialect(Version.V5_2)
    assert [len(encode(each, new)) for each in (aware, unaware)] == [56, 40]
    assert decode(encode(aware, new), new) == aware
    assert decode(encode(unaware, new), new) == unaware
    assert decode(encode(aware, new), old) == unaware
    with pytest.raises(DoesNotFit, match="silo_id"):
        encode(aware, old)


def test_reserved_bits_beside_the_offers_flags_are_not_read() -> None:
    offer = messages.OfferChannel(SILO, SILO, 0, 0, b"", 0, 0, Relid(3), ConnectionId(0x2003))
    data = bytearray(encode(offer, Dialect(Version.V5_3)))
    assert (data[188], data[189], data[190]) == (0xFF, 0, 1)
    data[189], data[190], data[191] = 0xFE, 0xFF, 0xFF
    heard = decode(data, Dialect(Version.V5_3))
    assert isinstance(heard, messages.OfferChannel)
    assert (heard.monitor_allocated, heard.dedicated_interrupt) == (0, 1)


def test_each_message_has_its_first_version() -> None:
    first = {3: Version.WS2008, 17: Version.WIN7, 21: Version.WIN10, 22: Version.WIN10_RS3, 24: Version.V5_3}
    for number, since in first.items():
        for version in Version:
            assert may_send(REGISTRY[number], Dialect(version)) == (version >= since)


def test_messages_of_6_0_need_their_feature() -> None:
    assert not may_send(messages.Pause, Dialect(Version.V6_0))
    assert not may_send(messages.Pause, Dialect(Version.V6_0, Feature.MODIFY_CONNECTION))
    assert may_send(messages.Pause, Dialect(Version.V6_0, Feature.PAUSE_RESUME))
    assert not may_send(messages.Pause, Dialect(Version.V5_3, Feature.PAUSE_RESUME))


def test_without_a_connection_only_contact_its_answer_and_the_reserved_close_may_be_sent() -> None:
    assert {number for number, kind in REGISTRY.items() if may_send(kind, None)} == {14, 15, 19}


def test_versions_are_written_as_people_write_them() -> None:
    assert [version.text for version in Version] == (
        ["0.13", "1.1", "2.4", "3.0", "4.0", "4.1", "5.0", "5.1", "5.2", "5.3", "6.0"]
    )
