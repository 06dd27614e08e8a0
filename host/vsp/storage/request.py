"""A vmscsi request on its way in and out: where its data is in guest memory, and how its outcome is written back."""

from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.outcome import Outcome
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE
from protocol.ram import Ram
from protocol.ring import Packet, PacketType
from protocol.ring.gpa_direct import parse
from protocol.wire.gpadl import GpaRange
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import AUTOSENSE_VALID, DataIn, SrbStatus, VmscsiRequest

MAX_TRANSFER_BYTES = 0x40000
"""256 KiB, what OpenVMM announces; Linux derives ``max_sectors`` and the segment count from it."""


def guest_buffer(packet: Packet, request: VmscsiRequest, ram: Ram) -> GuestBuffer:
    """The guest's pages for the data of a request, nothing beyond ``data_transfer_length``.

    One range, as ``storvsc_queuecommand`` makes it, which may be longer than the data. Raises PeerError: no range
    for data, more than one, one that is too short or not in RAM, more data than was announced, no direction.
    """
    length = request.data_transfer_length
    if not length:
        return GuestBuffer()
    if packet.type != PacketType.GPA_DIRECT:
        raise PeerError(f"storvsp: {length} bytes of data in a packet without a range")
    if request.data_in not in (DataIn.WRITE, DataIn.READ):
        raise PeerError(f"storvsp: {length} bytes of data in direction {request.data_in}")
    if length > MAX_TRANSFER_BYTES:
        raise PeerError(f"storvsp: {length} bytes of data, at most {MAX_TRANSFER_BYTES} were announced")
    (whole, *others) = parse(packet.header)
    if others or whole.byte_count < length:
        raise PeerError(f"storvsp: {length} bytes of data in {1 + len(others)} ranges, the first of {whole.byte_count}")
    pages = -(-(whole.byte_offset + length) // PAGE_SIZE)
    used = GpaRange(length, whole.byte_offset, whole.pfns[:pages])
    return GuestBuffer(ram.views(used), to_guest=request.data_in == DataIn.READ)


def completion_body(request: VmscsiRequest, outcome: Outcome) -> bytes:
    """The union of a COMPLETE_IO packet. Sense takes the place of the CDB."""
    sense = outcome.sense.encode() if outcome.sense else b""
    return VmscsiRequest(
        srb_status=outcome.srb_status | (AUTOSENSE_VALID if sense else 0),
        scsi_status=outcome.scsi_status,
        port_number=request.port_number,
        path_id=request.path_id,
        target_id=request.target_id,
        lun=request.lun,
        cdb_length=request.cdb_length,
        sense_info_length=len(sense),
        data_in=request.data_in,
        data_transfer_length=outcome.transferred,
        cdb_or_sense=sense.ljust(20, b"\0"),
    ).encode()


def nt_status(outcome: Outcome) -> NtStatus:
    """Packet status for an SRB status (OpenVMM ``convert_srb_status_to_nt_status``); Linux only logs it."""
    match outcome.srb_status:
        case SrbStatus.SUCCESS:
            return NtStatus.SUCCESS
        case SrbStatus.INVALID_LUN:
            return NtStatus.NO_SUCH_DEVICE
        case _:
            return NtStatus.IO_DEVICE_ERROR
