"""What a disk says of itself, command by command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import OperatorError
from protocol.wire.vstor import ScsiStatus, SrbStatus
from tests.vsp.image import SECTORS, Image, blank
from tests.vsp.initiator import IDENTITY, READ, WRITE, Initiator, rw, sense_of


def test_a_read_only_disk_says_so_in_mode_sense_and_refuses_writes() -> None:
    image = blank(read_only=True)
    guest = Initiator(image)
    assert guest.answer(bytes((0x1A, 0, 0x3F, 0, 4)))[2] == 0x90
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=b"x" * 512)) == (7, 0x27, 0)
    assert image.data == bytes(SECTORS * 512)


def test_a_changed_capacity_is_reported_once_and_inquiry_does_not_consume_it() -> None:
    image = blank()
    guest = Initiator(image)
    image.size = 2 * SECTORS * 512
    image.data.extend(bytes(SECTORS * 512))
    assert guest.answer(bytes((0x12, 0, 0, 0, 36)))
    outcome = guest.command(rw(0x28, 0, 1), room=512)
    assert sense_of(outcome) == (6, 0x2A, 9)
    assert outcome.srb_status == SrbStatus.ERROR
    assert guest.command(rw(0x28, 0, 1), room=512).transferred == 512
    assert int.from_bytes(guest.answer(bytes((0x25,)))[:4], "big") == 2 * SECTORS - 1


def test_request_sense_hands_out_a_pending_capacity_change_and_is_otherwise_empty() -> None:
    image = blank()
    guest = Initiator(image)
    request_sense = bytes((0x03, 0, 0, 0, 252))
    assert guest.answer(request_sense)[2] == 0
    image.size -= 512
    assert guest.answer(request_sense)[12:14] == b"\x2a\x09"
    assert guest.command(b"\0").scsi_status == ScsiStatus.GOOD


def test_inquiry_describes_a_hyper_v_disk_and_is_cut_at_the_allocation_length() -> None:
    guest = Initiator(blank())
    short = guest.answer(bytes((0x12, 0, 0, 0, 36)))
    assert (len(short), short[0], short[2], short[7]) == (36, 0, 5, 2)
    assert short[8:36] == b"Msft    Virtual Disk    1.0 "
    assert len(guest.answer(bytes((0x12, 0, 0, 0, short[4] + 5)))) == 96
    assert guest.answer(bytes((0x12, 0, 0, 0, 255)), room=10) == short[:10]


def test_every_vital_product_page_in_the_list_exists_and_no_other() -> None:
    guest = Initiator(blank())
    listed = guest.answer(bytes((0x12, 1, 0x00, 0, 255)))[4:]
    assert list(listed) == sorted(listed)
    for page in range(256):
        cdb = bytes((0x12, 1, page, 0, 255))
        if page in listed:
            answer = guest.answer(cdb)
            assert answer[1] == page
            assert len(answer) == 4 + int.from_bytes(answer[2:4], "big")
        else:
            assert sense_of(guest.command(cdb, room=255)) == (5, 0x24, 0)
    assert sense_of(guest.command(bytes((0x12, 0, 0x83, 0, 255)), room=255)) == (5, 0x24, 0)


def test_the_identification_page_gives_udev_a_name_with_microsofts_number() -> None:
    page = Initiator(blank()).answer(bytes((0x12, 1, 0x83, 0, 255)))
    assert page[4:8] == bytes((1, 1, 0, 24))
    assert page[8:32] == b"Msft    " + IDENTITY.bytes_le
    assert page[32:36] == bytes((1, 3, 0, 16))
    assert page[36:40] == b"\x60\x02\x24\x80"
    assert len(page) == 52


@pytest.mark.parametrize("block_size", [512, 4096])
def test_both_capacities_name_the_last_block(block_size: int) -> None:
    guest = Initiator(Image(bytes(8 * 4096)), block_size)
    last = 8 * 4096 // block_size - 1
    assert guest.answer(bytes((0x25,))) == last.to_bytes(4, "big") + block_size.to_bytes(4, "big")
    long = guest.answer(bytes((0x9E, 0x10)) + bytes(8) + (32).to_bytes(4, "big"))
    assert len(long) == 32
    assert long[:12] == last.to_bytes(8, "big") + block_size.to_bytes(4, "big")
    assert long[14] == 0, "no provisioning without UNMAP"


def test_a_disk_beyond_two_tebibytes_sends_the_guest_to_the_sixteen_byte_commands() -> None:
    image = blank()
    image.size = 2**32 * 512 + 512
    guest = Initiator(image)
    assert guest.answer(bytes((0x25,)))[:4] == b"\xff\xff\xff\xff"
    assert guest.answer(bytes((0x9E, 0x10)) + bytes(8) + (32).to_bytes(4, "big"))[:8] == (2**32).to_bytes(8, "big")


def test_the_caching_page_says_that_the_cache_is_on() -> None:
    guest = Initiator(blank())
    assert guest.answer(bytes((0x1A, 0, 0x08, 0, 192))) == bytes((15, 0, 0x10, 0, 8, 10, 4)) + bytes(9)
    assert guest.answer(bytes((0x5A, 0, 0x08, 0, 0, 0, 0, 0, 192)))[:8] == bytes((0, 18, 0, 0x10, 0, 0, 0, 0))
    changeable = guest.answer(bytes((0x1A, 0, 0x48, 0, 192)))
    assert changeable[4:7] == bytes((8, 10, 0)), "nothing can be changed"


@pytest.mark.parametrize(
    ("page", "subpage", "sense"), [(0x0A, 0x05, (5, 0x24, 0)), (0x08, 1, (5, 0x24, 0)), (0xC8, 0, (5, 0x39, 0))]
)
def test_other_mode_pages_are_refused(page: int, subpage: int, sense: tuple[int, int, int]) -> None:
    assert sense_of(Initiator(blank()).command(bytes((0x1A, 0, page, subpage, 192)), room=192)) == sense


def test_commands_without_an_implementation_are_refused_as_such() -> None:
    guest = Initiator(blank())
    implemented = {0x00, 0x03, *READ, *WRITE, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x2F, 0x35, 0x5A, 0x8F, 0x91, 0x9E}
    for opcode in set(range(256)) - implemented:
        outcome = guest.command(bytes((opcode,)), room=512)
        assert sense_of(outcome) == (5, 0x20, 0)
        assert outcome.srb_status == SrbStatus.INVALID_REQUEST


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2048), st.booleans())
def test_no_cdb_whatsoever_breaks_the_disk(cdb: bytes, size: int, writes: bool) -> None:
    image = blank()
    guest = Initiator(image)
    outcome = guest.command(cdb, room=0 if writes else size, send=bytes(size) if writes else b"")
    assert outcome.transferred <= size
    assert len(image.data) == image.size


def test_an_image_must_be_whole_blocks() -> None:
    with pytest.raises(OperatorError, match="multiple of 512"):
        Initiator(Image(bytes(1000)))
