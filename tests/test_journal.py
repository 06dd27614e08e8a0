"""Journals: what is written is read, in order, and nothing else is taken for one."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import OperatorError
from protocol.journal import Record, Recorder, digest, merge, pack, unpack

FIELDS = st.lists(st.one_of(st.integers(0, 2**64 - 1), st.text(), st.binary()), max_size=4).map(tuple)
RECORDS = st.builds(Record, st.integers(0, 2**63), st.sampled_from(["host", "cpu0"]), st.text(), FIELDS)


def journal(*records: Record) -> bytes:
    return b"".join(map(pack, records))


@given(st.lists(RECORDS))
def test_what_is_written_is_read_in_order(records: list[Record]) -> None:
    assert list(unpack(journal(*records))) == records


@given(st.lists(RECORDS, min_size=1), st.data())
def test_a_journal_cut_off_by_a_sudden_end_loses_only_its_last_record(
    records: list[Record], data: st.DataObject
) -> None:
    last = len(pack(records[-1]))
    cut = data.draw(st.integers(1, last))
    assert list(unpack(journal(*records)[:-cut])) == records[:-1]


@given(st.binary())
@example(b"\xdd\xff\xff\xff\xff")  # an array of four thousand million records
def test_what_is_no_journal_is_the_operators_mistake(data: bytes) -> None:
    try:
        list(unpack(data))
    except OperatorError as error:
        assert "--trace" in str(error)


@pytest.mark.parametrize(
    "item", [1, [1, 2], [1, "host", "event"], ["1", "host", "event", []], [1, "host", "event", {}], {"a": 1}, None]
)
def test_msgpack_that_is_no_record_is_the_operators_mistake(item: object) -> None:
    with pytest.raises(OperatorError):
        list(unpack(msgpack.packb(item)))


def test_a_journal_larger_than_msgpacks_default_buffer_is_read() -> None:
    record = Record(1, "host", "post", (bytes(1 << 20),))
    assert sum(1 for _ in unpack(pack(record) * 101)) == 101


def test_journals_are_merged_by_time_and_equal_times_keep_the_order_of_their_process() -> None:
    host = [Record(1, "host", "a", ()), Record(5, "host", "b", ()), Record(5, "host", "c", ())]
    cpu = [Record(3, "cpu0", "d", ()), Record(5, "cpu0", "e", ())]
    assert [record.event for record in merge([journal(*host), journal(*cpu)])] == ["a", "d", "b", "c", "e"]


def test_a_recorder_stamps_time_and_name() -> None:
    written: list[bytes] = []
    record = Recorder("cpu1", lambda: 42, written.append)
    record("message", 2, b"payload")
    record("signals", [1, 2])
    assert list(unpack(b"".join(written))) == [
        Record(42, "cpu1", "message", (2, b"payload")),
        Record(42, "cpu1", "signals", ((1, 2),)),
    ]


@given(st.lists(RECORDS))
def test_the_trace_hash_is_of_the_records_and_of_their_order(records: list[Record]) -> None:
    assert digest(records) == digest(unpack(journal(*records)))
    if records != records[::-1]:
        assert digest(records) != digest(records[::-1])
