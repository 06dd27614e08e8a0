"""When two guests count as alike: what is equal, what is explained, and what no explanation may hide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.linux.differential import files
from lab.linux.differential.compare import Row, Verdict, compare
from lab.linux.differential.explained import EXPLANATIONS
from lab.linux.differential.messages import CONNECTION, messages
from lab.linux.differential.streams import Item, Streams, lines
from protocol.ids import GpadlId, Relid, VpIndex
from protocol.journal import Record
from protocol.wire.messages import (
    CloseChannel,
    GpadlCreated,
    GpadlHeader,
    Message,
    OpenChannel,
    encode,
)
from protocol.wire.versions import Dialect, Version

COMMANDS = "SCSI commands of relid 14 (storvsc)"
PROBE = ["0:0:0 TEST_UNIT_READY 00 0 bytes", "0:0:0 SERVICE_ACTION_IN_16 9e10 32 bytes from"]
MODE_SENSES = [f"0:0:0 MODE_SENSE {cdb} bytes" for cdb in ("1a003f000400", "1a0008000400", "1a0008001000")]
SECOND_LOOK = [*PROBE, "0:0:0 INQUIRY 120100002400 36 bytes", *MODE_SENSES, "0:0:0 READ_10 28 4096 bytes"]
POWER_OFF = ["0:0:0 SYNCHRONIZE_CACHE 35 0 bytes"]
FIRST_LOOK = [*PROBE, *MODE_SENSES]


def commands(*texts: str) -> Streams:
    return {COMMANDS: lines(texts)}


def verdicts(emulated: Streams, real: Streams) -> list[Verdict]:
    return [row.verdict for row in compare(emulated, real)]


def test_what_the_kernel_does_besides_is_explained_piece_by_piece() -> None:
    rows = list(compare(commands(*FIRST_LOOK), commands(*FIRST_LOOK, *SECOND_LOOK, *POWER_OFF)))
    assert [row.verdict for row in rows] == [Verdict.EQUAL, Verdict.EXPLAINED, Verdict.EXPLAINED]
    assert [row.explanation.function for row in rows if row.explanation] == [
        "disk_scan_partitions, sd_open, read_part_sector",
        "sd_shutdown",
    ]


@pytest.mark.parametrize("missing", FIRST_LOOK)
def test_a_command_that_the_emulated_guest_leaves_out_is_not_hidden_by_the_kernels_second_look(missing: str) -> None:
    fewer = [text for text in FIRST_LOOK if text != missing]
    found = verdicts(commands(*fewer), commands(*FIRST_LOOK, *SECOND_LOOK, *POWER_OFF))
    assert Verdict.UNEXPLAINED in found


def test_a_command_that_only_the_emulated_guest_sends_is_unexplained() -> None:
    assert verdicts(commands(*FIRST_LOOK, *POWER_OFF), commands(*FIRST_LOOK)) == [
        Verdict.EQUAL,
        Verdict.UNEXPLAINED,
    ]


def test_an_explanation_holds_where_it_belongs_and_nowhere_else() -> None:
    assert verdicts({COMMANDS: []}, {COMMANDS: lines(POWER_OFF)}) == [Verdict.EXPLAINED]
    assert verdicts({CONNECTION: []}, {CONNECTION: lines(POWER_OFF)}) == [Verdict.UNEXPLAINED]


def test_a_place_that_one_guest_does_not_have_at_all_is_a_difference() -> None:
    assert verdicts({}, {"SynIC of VP 1": lines(["SIMP := a page, 0x1"])}) == [Verdict.UNEXPLAINED]


@pytest.mark.parametrize(
    "place",
    [
        CONNECTION,
        "messages of relid 14",
        "packets of relid 7 (heartbeat)",
        "handshake of relid 14 (storvsc)",
        "channel_vp_mapping",
        "devices of the bus",
    ],
)
def test_nothing_explains_a_difference_in_messages_handshakes_or_placement(place: str) -> None:
    assert [each for each in EXPLANATIONS if re.fullmatch(each.where, place)] == []


def test_every_explanation_is_in_the_document_about_fidelity() -> None:
    text = (Path(__file__).parents[2] / "docs/fidelity.md").read_text()
    assert [each.function for each in EXPLANATIONS if each.function not in text] == []


# --- what is left out of the comparison, and what is not --------------------------------------------------------------


def journal(*said: Message) -> list[Record]:
    dialect = Dialect(Version.WIN8)
    return [Record(0, "host", "post", (0, 0, encode(message, dialect))) for message in said]


def opening(relid: int, gpadl: int, first_page: int, *, pages: int = 8) -> list[Message]:
    words = (pages << 12, *range(first_page, first_page + pages))
    return [
        GpadlHeader(Relid(relid), GpadlId(gpadl), 8 + 8 * pages, 1, words),
        GpadlCreated(Relid(relid), GpadlId(gpadl), 0),
        OpenChannel(Relid(relid), relid, GpadlId(gpadl), VpIndex(0), pages // 2, bytes(120)),
    ]


def test_pages_and_gpadl_ids_are_the_guests_own_business() -> None:
    one = messages(journal(*opening(7, 0xE1E10, 100), *opening(9, 0xE1E11, 200)))
    other = messages(journal(*opening(9, 0xE1E10, 4000), *opening(7, 0xE1E11, 5000)))
    rows = list(compare(one, other))
    assert [row for row in rows if row.verdict is not Verdict.EQUAL] == [
        Row("order in which channels are opened", "7, 9", "9, 7", Verdict.EXPLAINED, EXPLANATIONS[2])
    ]


def test_the_size_of_a_ring_is_not() -> None:
    one, other = (messages(journal(*opening(7, 0xE1E10, 100, pages=pages))) for pages in (8, 16))
    assert Verdict.UNEXPLAINED in verdicts(one, other)


def test_a_message_more_is_not() -> None:
    said = opening(7, 0xE1E10, 100)
    rows = list(compare(messages(journal(*said)), messages(journal(*said, CloseChannel(Relid(7))))))
    assert [(row.where, row.emulated, row.real) for row in rows if row.verdict is Verdict.UNEXPLAINED] == [
        ("messages of relid 7", "-", "-> CloseChannel relid=7")
    ]


def table(*rows: str) -> Streams:
    return files.interrupts("\n".join(("           CPU0       CPU1       ", *rows)) + "\n")


def test_the_numbers_in_proc_interrupts_may_differ_and_nothing_else() -> None:
    row = "HYP:{:11d} {:10d}   Hypervisor callback interrupts"
    error = "ERR:{:11d}"
    one, other = table(row.format(1, 2), error.format(0)), table(row.format(4_000_000_000, 17), error.format(3))
    assert one == other
    assert verdicts(one, table(row.format(1, 2) + " ", error.format(0)))[-2:] == [Verdict.UNEXPLAINED, Verdict.EQUAL]
    assert Verdict.UNEXPLAINED in verdicts(one, table(" " + row.format(1, 2), error.format(0)))
    assert Verdict.UNEXPLAINED in verdicts(one, table(error.format(0), row.format(1, 2)))


def test_the_target_of_a_channel_is_compared_in_the_message_and_in_the_guests_file() -> None:
    here, there = files.placement([(14, 0), (7, 0)]), files.placement([(7, 0), (14, 1)])
    assert here == {"channel_vp_mapping": [Item("7:0", "7:0"), Item("14:0", "14:0")]}
    assert verdicts(here, there) == [Verdict.EQUAL, Verdict.UNEXPLAINED]
