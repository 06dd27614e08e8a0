"""A SCSI controller: the handshake, and every command that the guest sends, on whichever channel."""

from __future__ import annotations

from typing import Final

from guest.drivers.scsi.command import Opcode
from lab.linux.differential.protocols.said import Said
from lab.linux.differential.streams import Item
from protocol.wire.vstor import BODY_AT, Operation, VmscsiRequest, VstorPacket

DATA_IN: Final = ("to the device", "from the device", "no data")


def read(said: list[Said]) -> dict[str, list[Item]]:
    handshake: list[Item] = []
    commands: list[Item] = []
    ports: set[int] = set()
    for each in said:
        operation = Operation(VstorPacket.decode(each.payload).operation)
        if operation is Operation.EXECUTE_SRB:
            srb = VmscsiRequest.decode(each.payload, BODY_AT)
            ports.add(srb.port_number)
            commands.append(_command(each, srb, len(ports)))
        elif operation is not Operation.COMPLETE_IO or not commands:
            handshake.append(each.item(operation.name, each.payload.hex()))
    return {"handshake": handshake, "SCSI commands": commands}


def _command(said: Said, srb: VmscsiRequest, port: int) -> Item:
    """Everything that the guest says, the command first.

    The port is the number of the SCSI host, and which probe gets which number is open: a controller's first is 1 here.
    """
    cdb = srb.cdb_or_sense[: srb.cdb_length]
    name = Opcode(cdb[0]).name if cdb[0] in set(Opcode) else f"command {cdb[0]:#x}"
    text = (
        f"{srb.path_id}:{srb.target_id}:{srb.lun} {name} {cdb.hex()} {srb.data_transfer_length} bytes "
        f"{DATA_IN[srb.data_in]}, port {port} srb_flags {srb.srb_flags:#x} tag {srb.queue_tag:#x} "
        f"action {srb.queue_action:#x} time-out {srb.time_out_value} sort key {srb.queue_sort_key} "
        f"sense {srb.sense_info_length} length {srb.length}, packet type {said.type} flags {said.flags}"
    )
    return Item(name, text)
