"""SCSI commands as this guest sends them (SBC-3, SPC-3; numbers in a CDB are big endian)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.ids import Pfn


class Opcode(IntEnum):
    """First byte of a CDB, under the kernel's names."""

    TEST_UNIT_READY = 0x00
    INQUIRY = 0x12
    MODE_SENSE = 0x1A
    READ_CAPACITY = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    SYNCHRONIZE_CACHE = 0x35
    READ_16 = 0x88
    WRITE_16 = 0x8A
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0


SAI_READ_CAPACITY_16: Final = 0x10
NO_PAGE: Final = Pfn(0)


@dataclass(frozen=True, slots=True, order=True)
class ScsiAddress:
    """A logical unit of one controller. ``channel`` is what Hyper-V calls path."""

    channel: int
    target: int
    lun: int


@dataclass(frozen=True, slots=True)
class ScsiCommand:
    """A CDB of 6, 10 or 16 bytes, and ``length`` bytes of contiguous pages from frame ``first`` to move with it."""

    cdb: bytes
    length: int = 0
    first: Pfn = NO_PAGE
    to_device: bool = False


def test_unit_ready() -> ScsiCommand:
    return ScsiCommand(bytes(6))


def inquiry(first: Pfn, length: int, page: int | None = None) -> ScsiCommand:
    """Standard data, or a page of vital product data."""
    cdb = bytes((Opcode.INQUIRY, page is not None, page or 0)) + length.to_bytes(2, "big") + b"\0"
    return ScsiCommand(cdb, length, first)


def report_luns(first: Pfn, length: int) -> ScsiCommand:
    return ScsiCommand(bytes((Opcode.REPORT_LUNS,)) + bytes(5) + length.to_bytes(4, "big") + bytes(2), length, first)


def read_capacity_10(first: Pfn) -> ScsiCommand:
    return ScsiCommand(bytes((Opcode.READ_CAPACITY,)) + bytes(9), 8, first)


def read_capacity_16(first: Pfn) -> ScsiCommand:
    cdb = bytes((Opcode.SERVICE_ACTION_IN_16, SAI_READ_CAPACITY_16)) + bytes(8) + (32).to_bytes(4, "big") + bytes(2)
    return ScsiCommand(cdb, 32, first)


def mode_sense(first: Pfn, page: int, length: int) -> ScsiCommand:
    """MODE SENSE(6)."""
    return ScsiCommand(bytes((Opcode.MODE_SENSE, 0, page, 0, length, 0)), length, first)


def transfer(lba: int, blocks: int, length: int, first: Pfn, write: bool) -> ScsiCommand:
    """READ or WRITE: the 10-byte form where it reaches, else the 16-byte form (``sd_setup_read_write_cmnd``)."""
    if lba + blocks <= 1 << 32 and blocks <= 0xFFFF:
        opcode = Opcode.WRITE_10 if write else Opcode.READ_10
        cdb = bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"
    else:
        opcode = Opcode.WRITE_16 if write else Opcode.READ_16
        cdb = bytes((opcode, 0)) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)
    return ScsiCommand(cdb, length, first, to_device=write)


def synchronize_cache() -> ScsiCommand:
    """The whole disk."""
    return ScsiCommand(bytes((Opcode.SYNCHRONIZE_CACHE,)) + bytes(9))
