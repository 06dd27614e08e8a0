"""SCSI commands as EXECUTE_SRB packets, and their completions as results (``storvsc_queuecommand`` and back)."""

from __future__ import annotations

from typing import Final

from guest.drivers.scsi.command import Opcode, ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import HostByte, ScsiResult, Sense
from protocol.wire.vstor import (
    AUTOSENSE_VALID,
    BODY_AT,
    REQUEST_COMPLETION,
    DataIn,
    Operation,
    ScsiStatus,
    SrbFlags,
    SrbStatus,
    VmscsiRequest,
    VstorPacket,
)

SRB_STATUS_MASK: Final = 0x3F

_TAGGED: Final = SrbFlags.QUEUE_ACTION_ENABLE | SrbFlags.NO_QUEUE_FREEZE
SP_UNTAGGED: Final = 0xFF
SRB_SIMPLE_TAG_REQUEST: Final = 0x20
_HIDDEN: Final = frozenset({Opcode.INQUIRY, Opcode.MODE_SENSE})
"""Old hosts fail these wrongly, so the driver makes a success of every answer to them."""
_WITH_OWN_SENSE: Final = (
    SrbStatus.ERROR,
    SrbStatus.ABORTED,
    SrbStatus.INVALID_REQUEST,
    SrbStatus.INTERNAL_ERROR,
    SrbStatus.TIMEOUT,
)

LOST: Final = VstorPacket(Operation.COMPLETE_IO, body=VmscsiRequest(srb_status=SrbStatus.INVALID_LUN).encode()).encode()
"""The answer that requests get when their controller is taken away."""
ABANDONED: Final = VstorPacket(
    Operation.COMPLETE_IO, body=VmscsiRequest(srb_status=SrbStatus.ABORTED).encode()
).encode()
"""The answer that requests get when their channel is taken away and the controller is not: try again."""


def execute_srb(host_no: int, address: ScsiAddress, command: ScsiCommand, tagged: bool) -> bytes:
    """The 64 bytes that go with the command; its pages are in the ring packet's GPA-direct range.

    ``tagged``: the unit queues commands, so it is told how.
    """
    flags = SrbFlags.DISABLE_SYNCH_TRANSFER
    if tagged:
        flags |= _TAGGED
    if not command.length:
        direction = DataIn.NONE
    elif command.to_device:
        direction, flags = DataIn.WRITE, flags | SrbFlags.DATA_OUT
    else:
        direction, flags = DataIn.READ, flags | SrbFlags.DATA_IN
    request = VmscsiRequest(
        port_number=host_no,
        path_id=address.channel,
        target_id=address.target,
        lun=address.lun,
        cdb_length=len(command.cdb),
        data_in=direction,
        data_transfer_length=command.length,
        cdb_or_sense=command.cdb,
        queue_tag=SP_UNTAGGED if tagged else 0,
        queue_action=SRB_SIMPLE_TAG_REQUEST if tagged else 0,
        srb_flags=flags,
    )
    return VstorPacket(Operation.EXECUTE_SRB, REQUEST_COMPLETION, body=request.encode()).encode()


def result_of(answer: bytes, command: ScsiCommand) -> ScsiResult:
    """``storvsc_on_io_completion`` and ``storvsc_command_completion``.

    Simplified: what Linux schedules besides, a new scan of a unit that has changed or gone, is not done.
    """
    srb = VmscsiRequest.decode(answer, BODY_AT)
    scsi_status, srb_status = srb.scsi_status, srb.srb_status
    if command.cdb[0] in _HIDDEN:
        scsi_status, srb_status = ScsiStatus.GOOD, SrbStatus.SUCCESS
    code = srb_status & SRB_STATUS_MASK
    moved = srb.data_transfer_length if code in (SrbStatus.SUCCESS, SrbStatus.DATA_OVERRUN) else 0
    sense = None
    if scsi_status == ScsiStatus.CHECK_CONDITION and srb_status & AUTOSENSE_VALID:
        sense = Sense.decode(srb.cdb_or_sense)
    host = _host_byte(code, srb_status, sense, command)
    return ScsiResult(scsi_status, srb_status, min(moved, command.length), sense, host)


def _host_byte(code: int, srb_status: int, sense: Sense | None, command: ScsiCommand) -> HostByte:
    """``storvsc_handle_error``: with sense, the mid layer decides; without, the command has failed as a whole."""
    if code == SrbStatus.INVALID_LUN:
        return HostByte.NO_CONNECT
    if code not in _WITH_OWN_SENSE:
        return HostByte.OK
    if srb_status & AUTOSENSE_VALID:
        return HostByte.REQUEUE if sense is not None and _changed(sense) else HostByte.OK
    return HostByte.OK if command.cdb[0] == Opcode.TEST_UNIT_READY else HostByte.ERROR


def _changed(sense: Sense) -> bool:
    """Capacity data has changed, or the target's operating conditions have."""
    return (sense.asc, sense.ascq) == (0x2A, 0x09) or (sense.asc == 0x3F and sense.ascq not in (0x03, 0x0E))
