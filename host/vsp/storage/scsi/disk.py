"""A direct-access SCSI disk over a BlockBackend: the commands that Linux and Windows send to a virtual disk."""

from collections.abc import Callable
from uuid import UUID

from host.vsp.storage.backend import BlockBackend
from host.vsp.storage.scsi.block_io import BlockIo
from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.cdb import (
    BLOCK_COMMANDS,
    FLUSHES,
    READS,
    WRITES,
    Op,
    big,
    block_range,
    force_unit_access,
    operation,
    protection_requested,
)
from host.vsp.storage.scsi.inquiry import inquire
from host.vsp.storage.scsi.mode import mode_sense
from host.vsp.storage.scsi.outcome import CheckCondition, Done, Outcome, check_condition, good
from host.vsp.storage.scsi.sense import CAPACITY_CHANGED, INVALID_FIELD_IN_CDB, INVALID_OPCODE, NO_SENSE
from protocol.errors import OperatorError

_READ_CAPACITY_16 = 0x10
"""Service action of SERVICE ACTION IN(16)."""


class ScsiDisk:
    """One logical unit.

    ``identity`` is what the guest knows the disk by (VPD pages 80 and 83). Simplified against a Hyper-V disk: no
    UNMAP, WRITE SAME, persistent reservations or MODE SELECT (5/20/00), no medium that can be taken out.
    """

    def __init__(
        self,
        backend: BlockBackend,
        identity: UUID,
        complain: Callable[[OperatorError], None],
        block_size: int = 512,
    ) -> None:
        if backend.size == 0 or backend.size % block_size:
            raise OperatorError(
                f"a disk image must be a positive multiple of {block_size} bytes, this one has {backend.size}: "
                f"resize it with truncate"
            )
        self._backend = backend
        self._complain = complain
        self._identity = identity
        self._block_size = block_size
        self._io = BlockIo(backend, block_size, complain)
        self._blocks_announced = self._io.blocks

    def on(self, change: Callable[[BlockBackend], BlockBackend]) -> "ScsiDisk":
        """The same disk on another back end, which is made of this one's."""
        return ScsiDisk(change(self._backend), self._identity, self._complain, self._block_size)

    def execute(self, cdb: bytes, data: GuestBuffer, done: Done) -> None:
        """Carry out one command (``cdb``: 16 bytes) and call ``done`` once, now or when the back end calls back."""
        try:
            op = operation(cdb)
            self._attend(op)
            self._dispatch(op, cdb, data, done)
        except CheckCondition as check:
            done(check_condition(check.sense))

    def _attend(self, op: Op) -> None:
        """Report a changed capacity once, instead of carrying out the first command after it (SAM-3 5.8.7)."""
        if op in (Op.INQUIRY, Op.REQUEST_SENSE) or self._blocks_announced == self._io.blocks:
            return
        self._blocks_announced = self._io.blocks
        raise CheckCondition(CAPACITY_CHANGED)

    def _dispatch(self, op: Op, cdb: bytes, data: GuestBuffer, done: Done) -> None:
        if op in BLOCK_COMMANDS and protection_requested(cdb):
            raise CheckCondition(INVALID_FIELD_IN_CDB)
        if op in READS:
            self._io.read(block_range(cdb), data, done)
        elif op in WRITES:
            self._io.write(block_range(cdb), data, done, fua=force_unit_access(cdb))
        elif op in FLUSHES:
            self._io.check(block_range(cdb))
            self._io.flush(done)
        elif op is Op.START_STOP_UNIT and not cdb[4] & 0x01:
            self._io.flush(done)
        else:
            done(self._answer(op, cdb, data))

    def _answer(self, op: Op, cdb: bytes, data: GuestBuffer) -> Outcome:
        """The commands that need no back end."""
        match op:
            case Op.INQUIRY:
                return reply(inquire(cdb, self._identity), data)
            case Op.READ_CAPACITY_10:
                last = min(self._io.blocks - 1, 0xFFFF_FFFF)
                return reply(last.to_bytes(4, "big") + self._block_size.to_bytes(4, "big"), data)
            case Op.SERVICE_ACTION_IN_16:
                return reply(self._read_capacity_16(cdb), data)
            case Op.MODE_SENSE_6 | Op.MODE_SENSE_10:
                return reply(mode_sense(cdb, read_only=self._backend.read_only), data)
            case Op.REQUEST_SENSE:
                return reply(self._request_sense(cdb), data)
            case Op.VERIFY_10 | Op.VERIFY_16:
                self._verify(cdb)
                return good()
            case Op.TEST_UNIT_READY | Op.START_STOP_UNIT | Op.PREVENT_ALLOW:
                return good()
            case _:
                raise CheckCondition(INVALID_OPCODE)

    def _read_capacity_16(self, cdb: bytes) -> bytes:
        if cdb[1] & 0x1F != _READ_CAPACITY_16:
            raise CheckCondition(INVALID_FIELD_IN_CDB)
        last = self._io.blocks - 1
        answer = last.to_bytes(8, "big") + self._block_size.to_bytes(4, "big")
        return answer.ljust(32, b"\0")[: big(cdb, 10, 4)]

    def _request_sense(self, cdb: bytes) -> bytes:
        """Autosense has delivered everything else, so only a capacity change can be pending."""
        if cdb[1] & 0x01:  # DESC: descriptor format
            raise CheckCondition(INVALID_FIELD_IN_CDB)
        pending = self._blocks_announced != self._io.blocks
        self._blocks_announced = self._io.blocks
        return (CAPACITY_CHANGED if pending else NO_SENSE).encode()[: cdb[4]]

    def _verify(self, cdb: bytes) -> None:
        """The medium cannot rot under us; a comparison with the guest's data (BYTCHK) is not offered."""
        if cdb[1] & 0x06:
            raise CheckCondition(INVALID_FIELD_IN_CDB)
        self._io.check(block_range(cdb))


def reply(answer: bytes, data: GuestBuffer) -> Outcome:
    """Give the guest an answer, as much of it as its buffer holds."""
    if data.length and not data.to_guest:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return good(data.fill(answer))
