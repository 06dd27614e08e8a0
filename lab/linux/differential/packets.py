"""The first packets of every device, from the host's journal.

Of an integration service the first message of each type, both ways; of a SCSI controller the handshake, and every
command that the guest sends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from guest.drivers.scsi.command import Opcode
from lab.linux.differential.streams import Item, Streams
from protocol.ids import Relid
from protocol.journal import Record
from protocol.wire.ic import ICMSG, IcMessage
from protocol.wire.pipe import HEADER_SIZE
from protocol.wire.vstor import BODY_AT, Operation, VmscsiRequest, VstorPacket

Packet = tuple[str, int, int, bytes]
"""Direction, type, flags, the beginning of the payload."""

TIMES = slice(0, 16)
"""Wall clock and reference time, at the beginning of a time sample."""
DATA_IN = ("to the device", "from the device", "no data")


def packets(records: Iterable[Record], names: Mapping[Relid, str]) -> Streams:
    """``names``: what kind of device each relid is, in the kernel's words."""
    by_relid: dict[int, list[Packet]] = defaultdict(list)
    for record in records:
        if record.event == "packet":
            relid, *packet = record.fields
            by_relid[relid].append(tuple(packet))
    streams: Streams = {}
    for relid in sorted(by_relid):
        where = f"relid {relid} ({names.get(Relid(relid), 'unknown')})"
        if names.get(Relid(relid)) == "storvsc":
            handshake, commands = _storage(by_relid[relid])
            streams[f"handshake of {where}"] = handshake
            streams[f"SCSI commands of {where}"] = commands
        else:
            streams[f"packets of {where}"] = _service(by_relid[relid])
    return streams


def _service(packets: list[Packet]) -> list[Item]:
    items: dict[tuple[str, int], Item] = {}
    for direction, type, flags, payload in packets:
        fields = ICMSG.unpack(payload, HEADER_SIZE)
        message = fields[2]
        body = bytearray(payload[HEADER_SIZE + ICMSG.size :])
        if message == IcMessage.TIMESYNC:
            body[TIMES] = bytes(16)
        name = IcMessage(message).name
        header = payload[: HEADER_SIZE + ICMSG.size].hex()
        text = f"{direction} {name} type {type} flags {flags} {header} {body.hex()}"
        items.setdefault((direction, message), Item(name, text))
    return list(items.values())


def _storage(packets: list[Packet]) -> tuple[list[Item], list[Item]]:
    handshake: list[Item] = []
    commands: list[Item] = []
    ports: set[int] = set()
    for direction, type, flags, payload in packets:
        packet = VstorPacket.decode(payload)
        operation = Operation(packet.operation)
        if operation is Operation.EXECUTE_SRB:
            srb = VmscsiRequest.decode(payload, BODY_AT)
            ports.add(srb.port_number)
            commands.append(_command(type, flags, srb, len(ports)))
        elif not commands:
            text = f"{direction} {operation.name} type {type} flags {flags} {payload.hex()}"
            handshake.append(Item(operation.name, text))
    return handshake, commands


def _command(type: int, flags: int, srb: VmscsiRequest, port: int) -> Item:
    """Everything that the guest says, the command first.

    The port is the number of the SCSI host, and which probe gets which number is open: a controller's first is 1 here.
    """
    cdb = srb.cdb_or_sense[: srb.cdb_length]
    name = Opcode(cdb[0]).name if cdb[0] in set(Opcode) else f"command {cdb[0]:#x}"
    text = (
        f"{srb.path_id}:{srb.target_id}:{srb.lun} {name} {cdb.hex()} {srb.data_transfer_length} bytes "
        f"{DATA_IN[srb.data_in]}, port {port} srb_flags {srb.srb_flags:#x} tag {srb.queue_tag:#x} "
        f"action {srb.queue_action:#x} time-out {srb.time_out_value} sort key {srb.queue_sort_key} "
        f"sense {srb.sense_info_length} length {srb.length}, packet type {type} flags {flags}"
    )
    return Item(name, text)
