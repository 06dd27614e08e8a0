"""The guest's side of storvsp: what ``storvsc_drv.c`` does, and a way to do what it would not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from host.vsp.storage.backend import BlockBackend
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from host.vsp.testing import Clock, Loopback, OfferedSubChannels
from protocol.ids import Pfn
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange
from protocol.wire.vstor import (
    VERSIONS,
    DataIn,
    Operation,
    Properties,
    ProtocolVersion,
    ScsiStatus,
    SrbStatus,
    VmscsiRequest,
    VstorPacket,
)

INSTANCE = UUID("00000000-0000-8899-0000-000000000000")
INIT_ID = 2**64 - 3
"""``VMBUS_RQST_INIT`` of storvsc."""
HERE = Address(0, 0, 0)
PAGE = 4096

READ, WRITE, INQUIRY, REPORT_LUNS, TEST_UNIT_READY = 0x28, 0x2A, 0x12, 0xA0, 0x00


@dataclass
class Completion:
    transaction_id: int
    packet: VstorPacket
    request: VmscsiRequest


@dataclass
class StorVsc:
    """The guest's side of one controller with a disk at 0:0:0."""

    ram: GuestRam
    image: BlockBackend
    max_sub_channels: int = 0
    disks_at: Sequence[Address] = (HERE,)
    clock: Clock = field(default_factory=Clock)
    sub_channels: OfferedSubChannels = field(default_factory=OfferedSubChannels)
    next_id: int = 1

    def __post_init__(self) -> None:
        disk = ScsiDisk(self.image, INSTANCE, self.clock.complain)
        self.controller = ScsiController(dict.fromkeys(self.disks_at, disk))
        self.device = Storvsp(self.clock, self.controller, INSTANCE, self.sub_channels, self.max_sub_channels)
        self.channel = Loopback(self.ram, range(1, 33), range(33, 65))
        self.channel.open(self.device)

    def operation(
        self, operation: int, body: bytes = b"", transaction_id: int = INIT_ID, *, size: int = 64
    ) -> VstorPacket:
        """``storvsc_execute_vstor_op``."""
        packet = VstorPacket(operation, flags=1, body=body.ljust(52, b"\0"))
        self.channel.send(PacketType.IN_BAND, packet.encode()[:size], transaction_id, COMPLETION_REQUESTED)
        (completion,) = self.completions()
        assert completion.transaction_id == transaction_id
        return completion.packet

    def completions(self, channel: Loopback | None = None) -> list[Completion]:
        completions = []
        for packet in (channel or self.channel).receive():
            assert packet.type == PacketType.COMPLETION
            assert len(packet.payload) == 64
            vstor = VstorPacket.decode(packet.payload)
            assert vstor.operation == Operation.COMPLETE_IO
            completions.append(Completion(packet.transaction_id, vstor, VmscsiRequest.decode(vstor.body)))
        return completions

    def initialise(self) -> Properties:
        """``storvsc_channel_init`` of a current kernel."""
        assert self.operation(Operation.BEGIN_INITIALIZATION).status == 0
        version = ProtocolVersion(VERSIONS[0]).encode()
        assert self.operation(Operation.QUERY_PROTOCOL_VERSION, version).status == 0
        properties = Properties.decode(self.operation(Operation.QUERY_PROPERTIES).body)
        assert self.operation(Operation.END_INITIALIZATION).status == 0
        return properties

    def submit(
        self,
        cdb: bytes,
        length: int = 0,
        direction: DataIn = DataIn.READ,
        *,
        at: Address = HERE,
        offset: int = 0,
        pfns: Sequence[int] = tuple(range(100, 200)),
        channel: Loopback | None = None,
        transaction_id: int | None = None,
    ) -> int:
        """``storvsc_queuecommand``: one range for the data, or an in-band packet without."""
        if transaction_id is None:
            transaction_id = self.next_id
            self.next_id += 1
        request = VmscsiRequest(
            path_id=at.path,
            target_id=at.target,
            lun=at.lun,
            cdb_length=16,
            data_in=direction if length else DataIn.NONE,
            data_transfer_length=length,
            cdb_or_sense=cdb.ljust(20, b"\0"),
        )
        payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
        kind, header = PacketType.IN_BAND, b""
        if length:
            pages = -(-(offset + length) // PAGE)
            kind, header = PacketType.GPA_DIRECT, encode([GpaRange(length, offset, tuple(map(Pfn, pfns[:pages])))])
        (channel or self.channel).send(kind, payload, transaction_id, COMPLETION_REQUESTED, header)
        return transaction_id

    def command(
        self,
        cdb: bytes,
        length: int = 0,
        direction: DataIn = DataIn.READ,
        at: Address = HERE,
    ) -> VmscsiRequest:
        transaction_id = self.submit(cdb, length, direction, at=at)
        (completion,) = self.completions()
        assert completion.transaction_id == transaction_id
        return completion.request

    def data(self, length: int, pfn: int = 100) -> bytes:
        return bytes(self.ram.bytes[pfn * PAGE : pfn * PAGE + length])


def good(request: VmscsiRequest) -> bool:
    return (request.srb_status, request.scsi_status) == (SrbStatus.SUCCESS, ScsiStatus.GOOD)


def rw10(opcode: int, lba: int, count: int) -> bytes:
    return bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big")
