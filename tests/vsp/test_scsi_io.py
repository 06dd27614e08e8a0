"""Blocks in and out of a disk, against a plain bytearray as the reference."""

from errno import EIO, ENOSPC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.storage.faults import FlippedByte
from host.vsp.storage.scsi.disk import ScsiDisk
from protocol.wire.vstor import ScsiStatus, SrbStatus
from tests.vsp.image import SECTORS, Image, blank
from tests.vsp.initiator import IDENTITY, READ, WRITE, Initiator, rw, sense_of


@given(
    st.lists(
        st.tuples(
            st.sampled_from(READ + WRITE),
            st.integers(0, SECTORS + 2),
            st.integers(1, SECTORS),
            st.binary(min_size=1, max_size=8),
        ),
        max_size=12,
    )
)
def test_reads_and_writes_of_every_size_agree_with_a_bytearray(
    commands: list[tuple[int, int, int, bytes]],
) -> None:
    image, reference = blank(), bytearray(SECTORS * 512)
    guest = Initiator(image)
    for opcode, lba, count, seed in commands:
        start, size = lba * 512, count * 512
        payload = (seed * size)[:size]
        if opcode in READ:
            outcome = guest.command(rw(opcode, lba, count), room=size)
        else:
            outcome = guest.command(rw(opcode, lba, count), send=payload)
        if lba + count > SECTORS:
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
    guest = Initiator(Image(bytes(300 * 512)))
    assert guest.command(rw(0x08, 0, 0), room=256 * 512).transferred == 256 * 512
    for opcode in (0x28, 0xA8, 0x88):
        outcome = guest.command(rw(opcode, 300, 0))
        assert (outcome.scsi_status, outcome.transferred) == (ScsiStatus.GOOD, 0)


def test_the_old_lun_bits_of_a_six_byte_command_are_no_part_of_the_address() -> None:
    guest = Initiator(Image(b"\x55" * 512 + bytes(63 * 512)))
    assert guest.answer(bytes((0x08, 0xE0, 0, 0, 1, 0))) == b"\x55" * 512


def test_an_address_near_two_to_the_64_does_not_wrap_around() -> None:
    guest = Initiator(blank())
    assert sense_of(guest.command(rw(0x88, 2**64 - 1, 2), room=1024)) == (5, 0x21, 0)
    assert sense_of(guest.command(rw(0x8A, 2**64 - 1, 1), send=bytes(512))) == (5, 0x21, 0)


def test_a_transfer_larger_than_the_buffer_or_against_its_direction_is_refused() -> None:
    guest = Initiator(blank())
    assert sense_of(guest.command(rw(0x28, 0, 2), room=512)) == (5, 0x24, 0)
    assert sense_of(guest.command(rw(0x28, 0, 1), send=b"x" * 512)) == (5, 0x24, 0)
    assert sense_of(guest.command(rw(0x2A, 0, 1), room=512)) == (5, 0x24, 0)
    assert guest.received == bytes(512)


def test_a_buffer_larger_than_the_transfer_is_filled_only_so_far() -> None:
    guest = Initiator(Image(b"\xaa" * 512 * SECTORS))
    assert guest.command(rw(0x28, 0, 1), room=2048).transferred == 512
    assert guest.received == b"\xaa" * 512 + bytes(1536)


def test_forced_unit_access_is_a_write_and_then_a_flush() -> None:
    image = blank()
    image.size = 2**30
    guest = Initiator(image)
    guest.command(rw(0x2A, 0, 1), send=b"1" * 512)
    assert image.flushes == 0
    assert guest.command(rw(0x2A, 0, 1, fua=True), send=b"2" * 512).transferred == 512
    assert image.flushes == 1
    assert guest.command(rw(0x0A, 0x08 << 16, 1), send=b"3" * 512).transferred == 512
    assert image.flushes == 1, "byte 1 of WRITE(6) is a part of the address"


@pytest.mark.parametrize("opcode", [0x35, 0x91])
def test_synchronize_cache_flushes_and_reports_a_failed_flush(opcode: int) -> None:
    image = blank()
    guest = Initiator(image)
    assert guest.command(bytes((opcode,))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 1
    image.failure = OSError(EIO, "gone")
    assert sense_of(guest.command(bytes((opcode,)))) == (3, 0x0C, 0)


def test_stopping_the_unit_flushes_it_first() -> None:
    image = blank()
    guest = Initiator(image)
    assert guest.command(bytes((0x1B, 0, 0, 0, 0x01))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 0
    assert guest.command(bytes((0x1B, 0, 0, 0, 0x00))).scsi_status == ScsiStatus.GOOD
    assert image.flushes == 1


def test_a_failing_back_end_has_its_own_sense_for_reads_writes_and_lack_of_space() -> None:
    image = blank()
    guest = Initiator(image)
    image.failure = OSError(EIO, "io")
    assert sense_of(guest.command(rw(0x28, 0, 1), room=512)) == (3, 0x11, 0)
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=bytes(512))) == (3, 0x0C, 0)
    image.failure = OSError(ENOSPC, "full")
    assert sense_of(guest.command(rw(0x2A, 0, 1), send=bytes(512))) == (7, 0x27, 7)


def test_an_image_that_was_cut_off_is_a_medium_error_and_a_complaint_that_says_what_to_do() -> None:
    image = blank()
    guest = Initiator(image)
    del image.data[600:]
    assert sense_of(guest.command(rw(0x28, 1, 1), room=512)) == (3, 0x11, 0)
    assert len(guest.complaints) == 1
    assert "do not shrink it" in str(guest.complaints[0])


def test_verify_checks_the_range_but_compares_nothing() -> None:
    guest = Initiator(blank())
    assert guest.command(rw(0x2F, 0, SECTORS)).scsi_status == ScsiStatus.GOOD
    assert sense_of(guest.command(rw(0x8F, 1, SECTORS))) == (5, 0x21, 0)
    assert sense_of(guest.command(bytes((0x2F, 0x02)))) == (5, 0x24, 0)


def test_one_flipped_byte_in_the_answers_is_seen_by_the_guest_and_leaves_the_image_alone() -> None:
    image = blank()
    guest = Initiator(image)
    guest.disk = ScsiDisk(FlippedByte(image, 1500), IDENTITY, guest.complaints.append)
    assert guest.answer(rw(0x28, 1, 2), room=1024) == bytes(476 + 512) + b"\xff" + bytes(35)
    assert guest.answer(rw(0x28, 0, 2), room=1024) == bytes(1024)
    guest.command(rw(0x2A, 2, 1), send=b"\x11" * 512)
    assert image.data[1024:1536] == b"\x11" * 512
