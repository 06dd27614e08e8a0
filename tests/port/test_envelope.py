"""Envelopes: numbered in both directions, and checked for form before anything believes them."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.port.envelope import (
    IPI,
    EnvelopeError,
    EnvelopeLost,
    EnvelopeReordered,
    EnvelopeRepeated,
    Sequence,
    ToHost,
    ToPort,
    read_to_host,
    read_to_port,
    to_host,
    to_port,
)

U64 = st.integers(0, 2**64 - 1)
SIGNALS = st.one_of(
    st.builds(lambda sint, flag: sint << 16 | flag, st.integers(0, 15), st.integers(0, 2047)),
    st.integers(IPI, IPI + 255),
)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.binary(), st.text()),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_numbers_in_order_are_accepted() -> None:
    sequence = Sequence()
    for number in range(1, 100):
        sequence.check(number)
    assert sequence.last == 99


def test_a_lost_envelope_is_named_by_the_next_one() -> None:
    sequence = Sequence()
    sequence.check(1)
    with pytest.raises(EnvelopeLost, match="envelope 2 is missing: 4 came instead"):
        sequence.check(4)


def test_a_repeated_envelope_is_named() -> None:
    sequence = Sequence()
    sequence.check(1)
    sequence.check(2)
    with pytest.raises(EnvelopeRepeated, match="envelope 1 came again after 2"):
        sequence.check(1)


def test_a_late_envelope_was_reordered_and_coming_twice_is_a_repetition() -> None:
    sequence = Sequence()
    with pytest.raises(EnvelopeLost):
        sequence.check(3)
    with pytest.raises(EnvelopeReordered, match="envelope 2 came after 3"):
        sequence.check(2)
    with pytest.raises(EnvelopeRepeated):
        sequence.check(2)
    sequence.check(4)


@given(st.permutations(range(1, 7)), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_whatever_a_transport_does_is_noticed_unless_it_did_nothing(order: list[int], copies: list[int]) -> None:
    received = [number for number in order for _ in range(copies[number - 1])]
    sequence, errors = Sequence(), 0
    for number in [*received, 7]:  # one envelope after the trouble: a tail that is lost is noticed by it
        try:
            sequence.check(number)
        except EnvelopeError:
            errors += 1
    assert (errors == 0) == (received == [1, 2, 3, 4, 5, 6])


@given(U64, U64, st.lists(SIGNALS))
def test_towards_a_port_everything_that_may_be_said_is_read_back(number: int, flags: int, signals: list[int]) -> None:
    said: list[tuple[object, ...]] = [
        (ToPort.SIGNALS,),
        (ToPort.MESSAGE, 2, b"\1" * 256),
        (ToPort.ANSWER, 0x18),
        (ToPort.FENCE,),
        (ToPort.RESET,),
    ]
    assert {fields[0] for fields in said} == set(ToPort)
    for fields in said:
        assert read_to_port(to_port(number, flags, signals, *fields)) == [number, flags, signals, *fields]  # type: ignore[arg-type]


@given(U64, U64, U64)
def test_towards_the_host_everything_that_may_be_said_is_read_back(number: int, delivered: int, value: int) -> None:
    said: list[tuple[object, ...]] = [
        (ToHost.HELLO,),
        (ToHost.HYPERCALL, value, value, value),
        (ToHost.CAST, value, value, value),
        (ToHost.REGISTER, value, value),
        (ToHost.RESET,),
        (ToHost.TAKEN, 2),
        (ToHost.ACK,),
        (ToHost.CRASH, "Kernel panic - not syncing: \N{SNOWMAN}"),
    ]
    assert {fields[0] for fields in said} == set(ToHost)
    for fields in said:
        assert read_to_host(to_host(number, delivered, *fields)) == [number, delivered, *fields]  # type: ignore[arg-type]


DEEP = b"\x94\x01\x00" + b"\x91" * 1000 + b"\x90\x00"  # deeper than Python can print


@given(st.binary())
@example(DEEP)
@example(b"\x94\x01\x00\x90" + b"\x91" * 1000 + b"\x90")
@example(b"\x93\x01\x00" + b"\x91" * 1000 + b"\x90")
def test_bytes_that_are_no_envelope_raise_nothing_but_envelope_errors(data: bytes) -> None:
    for read in (read_to_port, read_to_host):
        with contextlib.suppress(EnvelopeError):
            read(data)


@given(TREES)
def test_well_formed_msgpack_that_is_no_envelope_raises_nothing_but_envelope_errors(tree: object) -> None:
    data = msgpack.packb(tree)
    for read in (read_to_port, read_to_host):
        with contextlib.suppress(EnvelopeError):
            read(data)


@pytest.mark.parametrize("signal", [-1, -65536, 2048, 16 << 16, IPI - 1, IPI + 256, 2**63, "2", 1.0, True, None])
def test_a_signal_that_no_synic_has_is_refused_before_it_can_reach_guest_memory(signal: object) -> None:
    with pytest.raises(EnvelopeError, match="no SynIC has"):
        read_to_port(msgpack.packb([1, 0, [signal], ToPort.SIGNALS]))


@pytest.mark.parametrize(
    "fields",
    [
        (ToHost.CAST, 0, -4096, 0),
        (ToHost.CAST, 0, 0),
        (ToHost.REGISTER, 0x40000080, True),
        (ToHost.TAKEN, -1),
        (ToHost.CRASH, b"bytes"),
        (99,),
    ],
)
def test_fields_are_unsigned_and_of_their_kind(fields: tuple[object, ...]) -> None:
    with pytest.raises(EnvelopeError):
        read_to_host(msgpack.packb([1, 0, *fields]))
