"""A SCSI initiator that sends one command at a time and looks at what came back."""

from uuid import UUID

from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.scsi.outcome import Outcome
from protocol.errors import OperatorError
from protocol.wire.vstor import ScsiStatus, SrbStatus
from tests.vsp.image import Image

IDENTITY = UUID("12345678-9abc-4def-8123-456789abcdef")

READ = (0x08, 0x28, 0xA8, 0x88)
WRITE = (0x0A, 0x2A, 0xAA, 0x8A)


class Initiator:
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
