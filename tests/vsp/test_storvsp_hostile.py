"""A guest that must not harm storvsp whatever it sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Pfn
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import (
    DataIn,
    Operation,
    ScsiStatus,
    SrbStatus,
    VmscsiRequest,
    VstorPacket,
)
from tests.vsp.image import Image, blank
from tests.vsp.storvsc import INQUIRY, PAGE, READ, TEST_UNIT_READY, WRITE, StorVsc, good, rw10

BEYOND = tuple(map(Pfn, (2**52 - 1, 2**40, 256)))


@pytest.mark.parametrize(
    ("kind", "header", "length", "direction"),
    [
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, BEYOND[:1])]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(8192, 4095, (Pfn(255), *BEYOND[1:]))]), 8192, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(256, 0, (Pfn(100),))]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))] * 2), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))]), 512, DataIn.NONE),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))]), 512, 77),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, ())]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, b"", 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(2**20, 0, tuple(map(Pfn, range(256))))]), 2**20, DataIn.READ),
        (PacketType.IN_BAND, b"", 512, DataIn.READ),
    ],
)
def test_a_request_whose_memory_makes_no_sense_is_an_error_for_the_guest_and_a_complaint(
    ram: GuestRam, guest: StorVsc, kind: PacketType, header: bytes, length: int, direction: int
) -> None:
    request = VmscsiRequest(
        data_in=direction, data_transfer_length=length, cdb_or_sense=rw10(READ, 0, 1).ljust(20, b"\0")
    )
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
    ram.bytes[100 * PAGE : 101 * PAGE] = b"\xdd" * PAGE
    guest.channel.send(kind, payload, 5, COMPLETION_REQUESTED, header)
    (completion,) = guest.completions()
    assert completion.transaction_id == 5
    assert (completion.request.srb_status, completion.request.scsi_status) == (0x86, ScsiStatus.CHECK_CONDITION)
    assert completion.request.data_transfer_length == 0
    assert guest.data(PAGE) == b"\xdd" * PAGE
    assert len(guest.clock.complaints) == 1
    assert good(guest.command(bytes((TEST_UNIT_READY,)))), "the channel lives on"


def test_what_cannot_be_completed_is_not_carried_out(ram: GuestRam, guest: StorVsc) -> None:
    request = VmscsiRequest(
        data_in=DataIn.WRITE, data_transfer_length=512, cdb_or_sense=rw10(WRITE, 0, 1).ljust(20, b"\0")
    )
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
    header = encode([GpaRange(512, 0, (Pfn(100),))])
    ram.bytes[100 * PAGE : 101 * PAGE] = b"\xdd" * PAGE
    guest.channel.send(PacketType.GPA_DIRECT, payload, 0, COMPLETION_REQUESTED, header)
    guest.channel.send(PacketType.GPA_DIRECT, payload, 3, 0, header)
    guest.channel.send(PacketType.COMPLETION, payload, 3, 0)
    assert not guest.completions()
    assert len(guest.clock.complaints) == 3
    assert isinstance(guest.image, Image)
    assert guest.image.data == bytes(guest.image.size)


@pytest.mark.parametrize("size", [0, 8, 40])
def test_a_packet_that_is_too_short_is_still_completed(guest: StorVsc, size: int) -> None:
    guest.channel.send(PacketType.IN_BAND, b"\3" + bytes(size - 1) if size else b"", 6, COMPLETION_REQUESTED)
    (completion,) = guest.completions()
    assert completion.packet.status == NtStatus.INVALID_PARAMETER
    assert completion.request.srb_status == SrbStatus.INVALID_REQUEST


@given(st.lists(st.tuples(st.sampled_from(list(PacketType)), st.binary(max_size=128), st.integers(0, 3)), max_size=10))
def test_no_garbage_breaks_the_channel(ram: GuestRam, packets: list[tuple[PacketType, bytes, int]]) -> None:
    guest = StorVsc(ram, blank())
    guest.initialise()
    for kind, payload, transaction_id in packets:
        guest.channel.send(kind, payload, transaction_id, transaction_id & 1, bytes(8) + payload[:8].ljust(8, b"\0"))
        guest.channel.receive()
    assert good(guest.command(bytes((INQUIRY, 0, 0, 0, 36)), 36))
