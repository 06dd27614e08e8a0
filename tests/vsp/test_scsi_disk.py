"""What a guest sees of a disk, command by command, against a plain bytearray as the reference."""

from collections.abc import Sequence
from errno import EIO, ENOSPC
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.storage.backend import Moved
from host.vsp.storage.faults import FlippedByte
from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.scsi.outcome import Outcome
from protocol.errors import OperatorError
from protocol.wire.vstor import ScsiStatus, SrbStatus

IDENTITY = UUID("12345678-9abc-4def-8123-456789abcdef")
BLOCKS = 64


class Image:
    """A back end in memory that answers at once, or fails as told."""

    def __init__(self, data: bytes = bytes(BLOCKS * 512), *, read_only: bool = False) -> None:
        self.data = bytearray(data)
        self.size = len(data)
        self.read_only = read_only
        self.failure: OSError | None = None
        self.flushes = 0

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        if self.failure:
            done(self.failure)
            return
        start = offset
        for view in views:
            piece = self.data[offset : offset + len(view)]
            view[: len(piece)] = piece
            offset += len(piece)
        done(offset - start)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        if self.failure:
            done(self.failure)
            return
        data = b"".join(views)
        self.data[offset : offset + len(data)] = data
        done(len(data))

    def flush(self, done: Moved) -> None:
        self.flushes += 1
        done(self.failure or 0)


class Guest:
    """Sends one command at a time to one disk and keeps what came back."""

    def __init__(self, image: Image, block_size: int = 512) -> None:
        self.complaints: list[OperatorError] = []
        self.disk = ScsiDisk(image, IDENTITY, self.complaints.append, block_size)
        self.received = bytearray()

    def command(self, cdb: bytes, room: int = 0, send: bytes = b"") -> Outcome:
        """``room`` bytes for an answer, in pieces as odd as pages are even, or ``send`` for a write."""
        self.received = bytearray(send or bytes(room))
        whole = memoryview(self.received)
        pieces = [whole[i : i + 700] for i in range(0, len(whole), 700)]
        outcomes: list[Outcome] = []
        self.disk.execute(cdb.ljust(16, b"\0"), GuestBuffer(pieces, to_guest=not send), outcomes.append)
        (outcome,) = outcomes
        return outcome

    def answer(self, cdb: bytes, room: int = 512) -> bytes:
        outcome = self.command(cdb, room)
        assert (outcome.scsi_status, outcome.srb_status) == (ScsiStatus.GOOD, SrbStatus.SUCCESS)
        return bytes(self.received[: outcome.transferred])


def sense_of(outcome: Outcome) -> tuple[int, int, int]:
    assert outcome.scsi_status == ScsiStatus.CHECK_CONDITION
    assert outcome.sense is not None
    assert outcome.transferred == 0
    sense = outcome.sense.encode()
    assert len(sense) == 18 and sense[0] == 0x70 and sense[7] == 10
    return sense[2], sense[12], sense[13]


def rw(opcode: int, lba: int, count: int, *, fua: bool = False) -> bytes:
    """A READ or WRITE of the size that ``opcode`` has."""
    flags = 0x08 if fua else 0
    match opcode >> 5:
        case 0:
            return bytes((opcode,)) + lba.to_bytes(3, "big") + bytes((count & 0xFF, 0))
        case 1:
            return bytes((opcode, flags)) + lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + b"\0"
        case 5:
            return bytes((opcode, flags)) + lba.to_bytes(4, "big") + count.to_bytes(4, "big") + b"\0\0"
        case _:
            return bytes((opcode, flags)) + lba.to_bytes(8, "big") + count.to_bytes(4, "big") + b"\0\0"


READ = (0x08, 0x28, 0xA8, 0x88)
WRITE = (0x0A, 0x2A, 0xAA, 0x8A)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(READ + WRITE),
            st.integers(0, BLOCKS + 2),
            st.integers(1, BLOCKS),
            st.binary(min_size=1, max_size=8),
        ),
        max_size=12,
    )
)
def test_reads_and_writes_of_every_size_agree_with_a_bytearray(
    commands: list[tuple[int, int, int, bytes]],
) -> None:
    image, reference = Image(), bytearray(BLOCKS * 512)
    guest = Guest(image)
    for opcode, lba, count, seed in commands:
        start, size = lba * 512, count * 512
        payload = (seed * size)[:size]
        if opcode in READ:
            outcome = guest.command(rw(opcode, lba, count), room=size)
        else:
            outcome = guest.command(rw(opcode, lba, count), send=payload)
        if lba + count > BLOCKS:
            assert sense_of(outcome) == (5, 0x21, 0)
            assert outcome.srb_status == SrbStatus.ERROR
        else:
            assert outcome.transferred == size
            if opcode in READ:
                assert guest.received == reference[start : start + size]
            else:
                reference[start : start + size] = payload
    assert image.data == reference


def test_a_count_of_zero_is_256_blocks_for_the_six_byte_commands_and_none_for_the_others() -> None:
    guest = Guest(Image(bytes(300 * 512)))
    assert guest.command(rw(0x08, 0, 0), room=256 * 512).transferred == 256 * 512
    for opcode in (0x28, 0xA8, 0x88):
        outcome = guest.command(rw(opcode, 300, 0))
        assert (outcome.scsi_status, outcome.transferred) == (ScsiStatus.GOOD, 0)


def test_the_old_lun_bits_of_a_six_byte_command_are_no_part_of_the_address() -> None:
    guest = Guest(Image(b"\x55" * 512 + bytes(63 * 512)))
    assert guest.answer(bytes((0x08, 0xE0, 0, 0, 1, 0))) == b"\x55" * 512


def test_an_address_near_two_to_the_64_does_not_wrap_around() -> None:
    guest = Guest(Image())
    assert sense_of(guest.command(rw(0x88, 2**64 - 1, 2), room=1024)) == (5, 0x21, 0)
    assert sense_of(guest.command(rw(0x8A, 2**64 - 1, 1), send=bytes(512))) == (5, 0x21, 0)


def test_a_transfer_larger_than_the_buffer_or_against_its_direction_is_refused() -> None:
    guest = Guest(Image())
    assert sense_of(guest.command(rw(0x28, 0, 2), room=512)) == (5, 0x24, 0)
    assert sense_of(guest.command(rw(0x28, 0, 1), send=b"x" * 512)) == (5, 0x24, 0)
    assert sense_of(guest.command(rw(0x2A, 0, 1), room=512)) == (5, 0x24, 0)
    assert guest.received == bytes(512)


def test_a_buffer_larger_than_the_transfer_is_filled_only_so_far() -> None:
    guest = Guest(Image(b"\xaa" * 512 * BLOCKS))
    assert guest.command(rw(0x28, 0, 1), room=2048).transferred == 512
    assert guest.received == b"\xaa" * 512 + bytes(1536)


def test_forced_unit_access_is_a_write_and_then_a_flush() -> None:
    image = Image()
    image.size = 2**30
    guest = Guest(image)
    guest.command(rw(0x2A, 0, 1), send=b"1" * 512)
    assert image.flushes == 0
    assert guest.command(rw(0x2A, 0, 1, fua=True), send=b"2" * 512).transferred == 512
    assert image.flushes == 1
    assert guest.command(rw(0x0A, 0x08 << 16, 1), send=b"3" * 512).transferred == 512
    assert image.flushes == 1, "byte 1 of WRITE(6) is a part of the address"


@pytest.mark.parametrize("opcode", [0x35, 0x91])
def test_synchronize_cache_flushes_and_reports_a_failed_flush(opcode: int) -> None:
    image = Image()
    guest = Guest(image)
    assert guest.command(bytes((opcode,))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 1
    image.failure = OSError(EIO, "gone")
    assert sense_of(guest.command(bytes((opcode,)))) == (3, 0x0C, 0)


def test_stopping_the_unit_flushes_it_first() -> None:
    image = Image()
    guest = Guest(image)
    assert guest.command(bytes((0x1B, 0, 0, 0, 0x01))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 0
    assert guest.command(bytes((0x1B, 0, 0, 0, 0x00))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 1


def test_a_failing_back_end_has_its_own_sense_for_reads_writes_and_lack_of_space() -> None:
    image = Image()
    guest = Guest(image)
    image.failure = OSError(EIO, "io")
    assert sense_of(guest.command(rw(0x28, 0, 1), room=512)) == (3, 0x11, 0)
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=bytes(512))) == (3, 0x0C, 0)
    image.failure = OSError(ENOSPC, "full")
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=bytes(512))) == (7, 0x27, 7)


def test_an_image_that_was_cut_off_is_a_medium_error_and_a_complaint_that_says_what_to_do() -> None:
    image = Image()
    guest = Guest(image)
    del image.data[600:]
    assert sense_of(guest.command(rw(0x28, 1, 1), room=512)) == (3, 0x11, 0)
    assert len(guest.complaints) == 1
    assert "do not shrink it" in str(guest.complaints[0])


def test_a_read_only_disk_says_so_in_mode_sense_and_refuses_writes() -> None:
    image = Image(read_only=True)
    guest = Guest(image)
    assert guest.answer(bytes((0x1A, 0, 0x3F, 0, 4)))[2] == 0x90
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=b"x" * 512)) == (7, 0x27, 0)
    assert image.data == bytes(BLOCKS * 512)


def test_a_changed_capacity_is_reported_once_and_inquiry_does_not_consume_it() -> None:
    image = Image()
    guest = Guest(image)
    image.size = 2 * BLOCKS * 512
    image.data.extend(bytes(BLOCKS * 512))
    assert guest.answer(bytes((0x12, 0, 0, 0, 36)))
    outcome = guest.command(rw(0x28, 0, 1), room=512)
    assert sense_of(outcome) == (6, 0x2A, 9)
    assert outcome.srb_status == SrbStatus.ERROR
    assert guest.command(rw(0x28, 0, 1), room=512).transferred == 512
    assert int.from_bytes(guest.answer(bytes((0x25,)))[:4], "big") == 2 * BLOCKS - 1


def test_request_sense_hands_out_a_pending_capacity_change_and_is_otherwise_empty() -> None:
    image = Image()
    guest = Guest(image)
    request_sense = bytes((0x03, 0, 0, 0, 252))
    assert guest.answer(request_sense)[2] == 0
    image.size -= 512
    assert guest.answer(request_sense)[12:14] == b"\x2a\x09"
    assert guest.command(b"\0").scsi_status == ScsiStatus.GOOD


def test_inquiry_describes_a_hyper_v_disk_and_is_cut_at_the_allocation_length() -> None:
    guest = Guest(Image())
    short = guest.answer(bytes((0x12, 0, 0, 0, 36)))
    assert (len(short), short[0], short[2], short[7]) == (36, 0, 5, 2)
    assert short[8:36] == b"Msft    Virtual Disk    1.0 "
    assert len(guest.answer(bytes((0x12, 0, 0, 0, short[4] + 5)))) == 96
    assert guest.answer(bytes((0x12, 0, 0, 0, 255)), room=10) == short[:10]


def test_every_vital_product_page_in_the_list_exists_and_no_other() -> None:
    guest = Guest(Image())
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
    page = Guest(Image()).answer(bytes((0x12, 1, 0x83, 0, 255)))
    assert page[4:8] == bytes((1, 1, 0, 24))
    assert page[8:32] == b"Msft    " + IDENTITY.bytes_le
    assert page[32:36] == bytes((1, 3, 0, 16))
    assert page[36:40] == b"\x60\x02\x24\x80"
    assert len(page) == 52


@pytest.mark.parametrize("block_size", [512, 4096])
def test_both_capacities_name_the_last_block(block_size: int) -> None:
    guest = Guest(Image(bytes(8 * 4096)), block_size)
    last = 8 * 4096 // block_size - 1
    assert guest.answer(bytes((0x25,))) == last.to_bytes(4, "big") + block_size.to_bytes(4, "big")
    long = guest.answer(bytes((0x9E, 0x10)) + bytes(8) + (32).to_bytes(4, "big"))
    assert len(long) == 32
    assert long[:12] == last.to_bytes(8, "big") + block_size.to_bytes(4, "big")
    assert long[14] == 0, "no provisioning without UNMAP"


def test_a_disk_beyond_two_tebibytes_sends_the_guest_to_the_sixteen_byte_commands() -> None:
    image = Image()
    image.size = 2**32 * 512 + 512
    guest = Guest(image)
    assert guest.answer(bytes((0x25,)))[:4] == b"\xff\xff\xff\xff"
    assert guest.answer(bytes((0x9E, 0x10)) + bytes(8) + (32).to_bytes(4, "big"))[:8] == (2**32).to_bytes(8, "big")


def test_the_caching_page_says_that_the_cache_is_on() -> None:
    guest = Guest(Image())
    assert guest.answer(bytes((0x1A, 0, 0x08, 0, 192))) == bytes((15, 0, 0x10, 0, 8, 10, 4)) + bytes(9)
    assert guest.answer(bytes((0x5A, 0, 0x08, 0, 0, 0, 0, 0, 192)))[:8] == bytes((0, 18, 0, 0x10, 0, 0, 0, 0))
    changeable = guest.answer(bytes((0x1A, 0, 0x48, 0, 192)))
    assert changeable[4:7] == bytes((8, 10, 0)), "nothing can be changed"


@pytest.mark.parametrize(
    ("page", "subpage", "sense"), [(0x0A, 0x05, (5, 0x24, 0)), (0x08, 1, (5, 0x24, 0)), (0xC8, 0, (5, 0x39, 0))]
)
def test_other_mode_pages_are_refused(page: int, subpage: int, sense: tuple[int, int, int]) -> None:
    assert sense_of(Guest(Image()).command(bytes((0x1A, 0, page, subpage, 192)), room=192)) == sense


def test_commands_without_an_implementation_are_refused_as_such() -> None:
    guest = Guest(Image())
    implemented = {0x00, 0x03, *READ, *WRITE, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x2F, 0x35, 0x5A, 0x8F, 0x91, 0x9E}
    for opcode in set(range(256)) - implemented:
        outcome = guest.command(bytes((opcode,)), room=512)
        assert sense_of(outcome) == (5, 0x20, 0)
        assert outcome.srb_status == SrbStatus.INVALID_REQUEST


def test_verify_checks_the_range_but_compares_nothing() -> None:
    guest = Guest(Image())
    assert guest.command(rw(0x2F, 0, BLOCKS)).scsi_status == ScsiStatus.GOOD
    assert sense_of(guest.command(rw(0x8F, 1, BLOCKS))) == (5, 0x21, 0)
    assert sense_of(guest.command(bytes((0x2F, 0x02)))) == (5, 0x24, 0)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2048), st.booleans())
def test_no_cdb_whatsoever_breaks_the_disk(cdb: bytes, size: int, writes: bool) -> None:
    image = Image()
    guest = Guest(image)
    outcome = guest.command(cdb, room=0 if writes else size, send=bytes(size) if writes else b"")
    assert outcome.transferred <= size
    assert len(image.data) == image.size


def test_an_image_must_be_whole_blocks() -> None:
    with pytest.raises(OperatorError, match="multiple of 512"):
        Guest(Image(bytes(1000)))


def test_one_flipped_byte_in_the_answers_is_seen_by_the_guest_and_leaves_the_image_alone() -> None:
    image = Image()
    guest = Guest(image)
    guest.disk = ScsiDisk(FlippedByte(image, 1500), IDENTITY, guest.complaints.append)
    assert guest.answer(rw(0x28, 1, 2), room=1024) == bytes(476 + 512) + b"\xff" + bytes(35)
    assert guest.answer(rw(0x28, 0, 2), room=1024) == bytes(1024)
    guest.command(rw(0x2A, 2, 1), send=b"\x11" * 512)
    assert image.data[1024:1536] == b"\x11" * 512
