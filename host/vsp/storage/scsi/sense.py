"""Sense data: why a command ended in CHECK CONDITION (SPC-3, 4.5)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sense:
    """Sense key, additional sense code and its qualifier."""

    key: int
    asc: int
    ascq: int = 0

    def encode(self) -> bytes:
        """Fixed format, 18 bytes, the form that Hyper-V hosts send."""
        return bytes((0x70, 0, self.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, self.asc, self.ascq, 0, 0, 0, 0))


NO_SENSE = Sense(0x0, 0x00)
WRITE_ERROR = Sense(0x3, 0x0C)
UNRECOVERED_READ_ERROR = Sense(0x3, 0x11)
INVALID_OPCODE = Sense(0x5, 0x20)
LBA_OUT_OF_RANGE = Sense(0x5, 0x21)
INVALID_FIELD_IN_CDB = Sense(0x5, 0x24)
SAVING_NOT_SUPPORTED = Sense(0x5, 0x39)
CAPACITY_CHANGED = Sense(0x6, 0x2A, 0x09)
WRITE_PROTECTED = Sense(0x7, 0x27)
SPACE_ALLOCATION_FAILED = Sense(0x7, 0x27, 0x07)
