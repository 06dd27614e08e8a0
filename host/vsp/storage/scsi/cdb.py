"""Command descriptor blocks: operation codes and where the numbers are (SPC-3 4.3, SBC-3 5).

A CDB is always the 16 bytes of a vmscsi request here; a shorter command leaves the rest unused.
"""

from dataclasses import dataclass
from enum import IntEnum

from host.vsp.storage.scsi.outcome import CheckCondition
from host.vsp.storage.scsi.sense import INVALID_OPCODE


class Op(IntEnum):
    """The commands that this disk or its controller carries out. All others end in 5/20/00."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    READ_6 = 0x08
    WRITE_6 = 0x0A
    INQUIRY = 0x12
    MODE_SENSE_6 = 0x1A
    START_STOP_UNIT = 0x1B
    PREVENT_ALLOW = 0x1E
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    VERIFY_10 = 0x2F
    SYNCHRONIZE_CACHE_10 = 0x35
    MODE_SENSE_10 = 0x5A
    READ_16 = 0x88
    WRITE_16 = 0x8A
    VERIFY_16 = 0x8F
    SYNCHRONIZE_CACHE_16 = 0x91
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    READ_12 = 0xA8
    WRITE_12 = 0xAA


READS = frozenset({Op.READ_6, Op.READ_10, Op.READ_12, Op.READ_16})
WRITES = frozenset({Op.WRITE_6, Op.WRITE_10, Op.WRITE_12, Op.WRITE_16})
BLOCK_COMMANDS = READS | WRITES | {Op.VERIFY_10, Op.VERIFY_16}
FLUSHES = frozenset({Op.SYNCHRONIZE_CACHE_10, Op.SYNCHRONIZE_CACHE_16})

_LENGTH_OF_GROUP = (6, 10, 10, 0, 16, 12, 0, 0)
"""CDB length by the three high bits of the operation code; 0: variable or vendor specific, none of ours."""


def operation(cdb: bytes) -> Op:
    """The operation of a CDB. Raises CheckCondition for one that is not carried out."""
    try:
        return Op(cdb[0])
    except ValueError:
        raise CheckCondition(INVALID_OPCODE) from None


@dataclass(frozen=True, slots=True)
class BlockRange:
    """``count`` logical blocks from ``lba`` on."""

    lba: int
    count: int


def block_range(cdb: bytes) -> BlockRange:
    """Logical block address and count of a READ, WRITE, VERIFY or SYNCHRONIZE CACHE of any length."""
    match _LENGTH_OF_GROUP[cdb[0] >> 5]:
        case 6:
            return BlockRange(big(cdb, 1, 3) & 0x1F_FFFF, cdb[4] or 256)
        case 10:
            return BlockRange(big(cdb, 2, 4), big(cdb, 7, 2))
        case 12:
            return BlockRange(big(cdb, 2, 4), big(cdb, 6, 4))
        case _:
            return BlockRange(big(cdb, 2, 8), big(cdb, 10, 4))


def force_unit_access(cdb: bytes) -> bool:
    """FUA: the data must be on the medium when the command completes. The 6-byte commands have no such bit."""
    return cdb[0] >> 5 != 0 and bool(cdb[1] & 0x08)


def protection_requested(cdb: bytes) -> bool:
    """RDPROTECT, WRPROTECT or VRPROTECT: the initiator expects protection information, which we do not keep."""
    return cdb[0] >> 5 != 0 and bool(cdb[1] & 0xE0)


def big(data: bytes, offset: int, size: int) -> int:
    """A big-endian field, as SCSI has them all."""
    return int.from_bytes(data[offset : offset + size], "big")
