"""When two guests count as alike: what is equal, what is explained, and what no explanation may hide."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

from lab.linux.differential import files
from lab.linux.differential.compare import Row, Verdict, compare
from lab.linux.differential.explained import EXPLANATIONS, Explanation
from lab.linux.differential.messages import CONNECTION, messages
from lab.linux.differential.streams import Item, Streams, lines
from protocol.ids import ConnectionId, GpadlId, Relid, VpIndex
from protocol.journal import Record
from protocol.wire.guids import HV_NIC_GUID
from protocol.wire.messages import (
    CloseChannel,
    GpadlBody,
    GpadlCreated,
    GpadlHeader,
    Message,
    OfferChannel,
    OpenChannel,
    encode,
)
from protocol.wire.versions import Dialect, Version

COMMANDS = "relid 14 (storvsc): SCSI commands"
ORDER = "order in which channels are opened"
PROBE = ["0:0:0 TEST_UNIT_READY 00 0 bytes", "0:0:0 SERVICE_ACTION_IN_16 9e10 32 bytes from"]
MODE_SENSES = [f"0:0:0 MODE_SENSE {cdb} bytes" for cdb in ("1a003f000400", "1a0008000400", "1a0008001000")]
SECOND_LOOK = [*PROBE, "0:0:0 INQUIRY 120100002400 36 bytes", *MODE_SENSES, "0:0:0 READ_10 28 4096 bytes"]
POWER_OFF = ["0:0:0 SYNCHRONIZE_CACHE 35 0 bytes"]
FIRST_LOOK = [*PROBE, *MODE_SENSES]


def explanation_of(place: str) -> Explanation:
    (only,) = [each for each in EXPLANATIONS if each.where == place]
    return only


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
        "relid 14 (storvsc): messages",
        "sub-channel 1 of relid 14 (storvsc): messages",
        "sub-channel 1 of relid 13 (netvsc): messages",
        "relid 7 (heartbeat): packets",
        "relid 14 (storvsc): handshake",
        "relid 5 (framebuffer): packets to the host",
        "relid 13 (netvsc): RNDIS",
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
        Row(ORDER, "relid 7, relid 9", "relid 9, relid 7", Verdict.EXPLAINED, explanation_of(ORDER))
    ]


def test_the_size_of_a_ring_is_not() -> None:
    one, other = (messages(journal(*opening(7, 0xE1E10, 100, pages=pages))) for pages in (8, 16))
    assert Verdict.UNEXPLAINED in verdicts(one, other)


def test_a_message_more_is_not() -> None:
    said = opening(7, 0xE1E10, 100)
    rows = list(compare(messages(journal(*said)), messages(journal(*said, CloseChannel(Relid(7))))))
    assert [(row.where, row.emulated, row.real) for row in rows if row.verdict is Verdict.UNEXPLAINED] == [
        ("relid 7: messages", "-", "-> CloseChannel relid=7")
    ]


def buffer(pages: int, gpadl: int) -> list[Message]:
    """What netvsc says of a buffer of so many pages: a header with the first 26, and bodies."""
    words = (pages << 12, *range(26))
    header = GpadlHeader(Relid(13), GpadlId(gpadl), 8 + 8 * pages, 1, words)
    return [header, *(GpadlBody(0, GpadlId(gpadl), tuple(range(rest))) for rest in (28, (pages - 26) % 28))]


def nic(relid: int = 13, index: int = 0) -> OfferChannel:
    return OfferChannel(HV_NIC_GUID, UUID(int=1), 0, 0, bytes(120), index, 0, Relid(relid), ConnectionId(relid))


def test_only_the_size_of_the_receive_buffer_is_the_guests_own_business() -> None:
    ring = opening(13, 0xE1E10, 100)
    for first, last, expected in (
        (buffer(256, 0xE1E11), buffer(4096, 0xE1E11), [Verdict.EXPLAINED]),
        (buffer(256, 0xE1E11), buffer(4095, 0xE1E11), [Verdict.UNEXPLAINED]),
        (buffer(4096, 0xE1E11), buffer(256, 0xE1E11), [Verdict.UNEXPLAINED]),
    ):
        one, other = (messages([offered(nic()), *journal(*ring, *each)]) for each in (first, last))
        assert {row.verdict for row in compare(one, other)} - {Verdict.EQUAL} == set(expected)


def offered(offer: OfferChannel) -> Record:
    return Record(0, "host", "message", (0, 2, encode(offer, Dialect(Version.WIN8))))


def test_a_sub_channel_is_compared_by_its_device_and_index_whatever_its_relid() -> None:
    one, other = (
        messages(
            [offered(nic()), offered(nic(first, 1)), offered(nic(second, 2)), *journal(CloseChannel(Relid(first)))]
        )
        for first, second in ((16, 17), (17, 16))
    )
    places = ["sub-channel 1 of relid 13 (netvsc): messages", "sub-channel 2 of relid 13 (netvsc): messages"]
    assert [place for place in one if "sub-channel" in place] == places
    assert [place for place in other if "sub-channel" in place] == places
    assert [len(other[place]) for place in places] == [2, 1]


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
