"""SynIC registers, message slots, event flags, and the inputs of the two hypercalls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, ConnectionId, Pfn
from protocol.wire.hypercall import BadHypercall, ControlWord, PostMessageInput, SignalEventInput, Status
from protocol.wire.layout import DoesNotFit, ShortMessage
from protocol.wire.synic import (
    MESSAGE_PENDING,
    MESSAGE_SINT,
    Register,
    SintConfig,
    SynicMessage,
    SynicPage,
    event_flag_word,
    flags_in,
    slot_offset,
)

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
PAYLOAD = st.binary(max_size=240)


@given(U32, st.integers(0, 255), U64, PAYLOAD, st.integers(0, 15))
def test_a_message_is_read_from_the_slot_it_was_written_to(
    message_type: int, flags: int, sender: int, payload: bytes, sint: int
) -> None:
    page = memoryview(bytearray(PAGE_SIZE))
    message = SynicMessage(message_type, flags, sender, payload)
    page[slot_offset(sint) : slot_offset(sint + 1)] = message.encode()
    assert SynicMessage.decode(page, slot_offset(sint)) == message


def test_an_empty_slot_has_message_type_0() -> None:
    assert SynicMessage.decode(bytes(256)) == SynicMessage(0, 0, 0, b"")


def test_the_pending_flag_is_bit_0_of_byte_5() -> None:
    assert SynicMessage(1, MESSAGE_PENDING, 0, b"").encode()[5] == 1


def test_a_slot_or_payload_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(DoesNotFit, match=r"hv_message\.payload"):
        SynicMessage(1, 0, 0, bytes(241)).encode()
    with pytest.raises(PeerError, match="241, at most 240"):
        SynicMessage.decode(bytes([1, 0, 0, 0, 241]).ljust(256, b"\0"))
    with pytest.raises(ShortMessage, match="hv_message"):
        SynicMessage.decode(bytes(255))


@given(st.builds(SintConfig, st.integers(0, 255), st.booleans(), st.booleans(), st.booleans()))
def test_sint_values_round_trip(config: SintConfig) -> None:
    assert SintConfig.decode(config.encode()) == config


def test_a_sint_is_masked_after_reset() -> None:
    assert SintConfig().encode() == 0x10000
    assert SintConfig(vector=0xF3, masked=False, auto_eoi=True).encode() == 0x200F3


@given(st.builds(SynicPage, st.booleans(), st.integers(0, 2**52 - 1).map(Pfn)))
def test_simp_and_siefp_values_round_trip(page: SynicPage) -> None:
    assert SynicPage.decode(page.encode()) == page


def test_preserved_bits_of_simp_are_not_part_of_the_page_number() -> None:
    assert SynicPage.decode(0x5FFF) == SynicPage(True, Pfn(5))


def test_sint_registers_are_in_a_row() -> None:
    assert Register.sint(MESSAGE_SINT) is Register.SINT2
    assert Register.sint(15) is Register.SINT15


@given(st.integers(0, 15), st.sets(st.integers(0, 2047)))
def test_flags_that_were_set_are_found_in_order(sint: int, flags: set[int]) -> None:
    page = memoryview(bytearray(PAGE_SIZE))
    words = page.cast("Q")
    for flag in flags:
        index, mask = event_flag_word(sint, flag)
        words[index] |= mask
        assert page[sint * 256 + flag // 8] & 1 << flag % 8
    found = [flag for index in range(32) for flag in flags_in(words[sint * 32 + index], index)]
    assert found == sorted(flags)


@given(U32.map(ConnectionId), st.integers(1, 2**31 - 1), PAYLOAD)
def test_post_message_input_round_trips(connection: ConnectionId, message_type: int, payload: bytes) -> None:
    posted = PostMessageInput(connection, message_type, payload)
    assert len(posted.encode()) == 256
    assert PostMessageInput.decode(posted.encode()) == posted


def test_post_message_input_lies_as_in_the_tlfs() -> None:
    data = PostMessageInput(ConnectionId(4), 1, b"\xaa" * 40).encode()
    assert data[:16].hex(" ", 4) == "04000000 00000000 01000000 28000000"
    assert data[16:] == b"\xaa" * 40 + bytes(200)


@pytest.mark.parametrize(("at", "value"), [(8, 0), (8, 0x8000_0001), (12, 241)])
def test_a_post_of_no_type_a_hypervisor_type_or_too_many_bytes_is_an_invalid_parameter(at: int, value: int) -> None:
    data = bytearray(PostMessageInput(ConnectionId(1), 1, b"").encode())
    data[at : at + 4] = value.to_bytes(4, "little")
    with pytest.raises(BadHypercall) as refused:
        PostMessageInput.decode(data)
    assert refused.value.status is Status.INVALID_PARAMETER


@given(U32.map(ConnectionId), U16)
def test_signal_event_input_round_trips(connection: ConnectionId, flag: int) -> None:
    signal = SignalEventInput(connection, flag)
    assert SignalEventInput.decode(signal.encode()) == signal


def test_reserved_bits_of_a_signal_are_invalid_input() -> None:
    with pytest.raises(BadHypercall) as refused:
        SignalEventInput.decode(1 << 48)
    assert refused.value.status is Status.INVALID_HYPERCALL_INPUT


@given(
    st.builds(
        ControlWord,
        U16,
        st.booleans(),
        st.integers(0, 0x3FF),
        st.booleans(),
        st.integers(0, 0xFFF),
        st.integers(0, 0xFFF),
    )
)
def test_control_words_round_trip(word: ControlWord) -> None:
    assert ControlWord.decode(word.encode()) == word
