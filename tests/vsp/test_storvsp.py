"""storvsp on real rings, against a guest that does what storvsc does, or what it must not do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.device import Device
from host.vsp.storage.backend import BlockBackend, Moved
from host.vsp.storage.connection import QUEUE_DEPTH
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.faults import FlippedByte
from host.vsp.storage.handshake import State
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from host.vsp.testing import Clock, Loopback
from protocol.ids import Pfn
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import (
    VERSIONS,
    DataIn,
    Operation,
    Properties,
    ProtocolVersion,
    ScsiStatus,
    SrbStatus,
    SubChannels,
    VmscsiRequest,
    VstorPacket,
)

INSTANCE = UUID("00000000-0000-8899-0000-000000000000")
INIT_ID = 2**64 - 3
"""``VMBUS_RQST_INIT`` of storvsc."""
HERE = Address(0, 0, 0)
SECTORS = 128
PAGE = 4096


@pytest.fixture(scope="module")
def ram() -> Iterator[GuestRam]:
    memory = GuestRam.create(256 * PAGE, "test-storvsp")
    yield memory
    memory.close()


class Image:
    """A back end in memory; with ``slow`` it keeps requests until ``work`` is called."""

    read_only = False

    def __init__(self, sectors: int = SECTORS, *, slow: bool = False) -> None:
        self.data = bytearray(sectors * 512)
        self.size = len(self.data)
        self.slow = slow
        self.waiting: list[Callable[[], None]] = []

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def run() -> None:
            position = offset
            for view in views:
                view[:] = self.data[position : position + len(view)]
                position += len(view)
            done(position - offset)

        self._run(run)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def run() -> None:
            data = b"".join(views)
            self.data[offset : offset + len(data)] = data
            done(len(data))

        self._run(run)

    def flush(self, done: Moved) -> None:
        self._run(lambda: done(0))

    def _run(self, request: Callable[[], None]) -> None:
        if self.slow:
            self.waiting.append(request)
        else:
            request()

    def work(self, count: int | None = None) -> None:
        now, self.waiting = self.waiting[:count], self.waiting[count:] if count else []
        for request in now:
            request()


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
    offered: list[Device] = field(default_factory=list)
    next_id: int = 1

    def __post_init__(self) -> None:
        disk = ScsiDisk(self.image, INSTANCE, self.clock.complain)
        controller = ScsiController(dict.fromkeys(self.disks_at, disk))
        self.device = Storvsp(self.clock, controller, INSTANCE, self.max_sub_channels, self.offered.extend)
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


@pytest.fixture
def guest(ram: GuestRam) -> StorVsc:
    ready = StorVsc(ram, Image())
    ready.initialise()
    return ready


def good(request: VmscsiRequest) -> bool:
    return (request.srb_status, request.scsi_status) == (SrbStatus.SUCCESS, ScsiStatus.GOOD)


def rw10(opcode: int, lba: int, count: int) -> bytes:
    return bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big")


READ, WRITE, FLUSH, INQUIRY, REPORT_LUNS, TEST_UNIT_READY = 0x28, 0x2A, 0x35, 0x12, 0xA0, 0x00


def test_the_handshake_of_a_current_kernel_announces_256_kib_and_no_sub_channels(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image())
    assert guest.initialise() == Properties(0, 0, 0x40000)
    assert (guest.device.state, guest.device.version) == (State.READY, 0x0602)
    assert not guest.clock.complaints


def test_versions_are_tried_until_one_fits(ram: GuestRam) -> None:
    for offered, accepted in ((0x0700, False), (0x0200, False), (0x0402, False), (0x0501, True)):
        guest = StorVsc(ram, Image())
        guest.operation(Operation.BEGIN_INITIALIZATION)
        answer = guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(offered).encode())
        assert answer.status == (0 if accepted else NtStatus.REVISION_MISMATCH)
        assert guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0600).encode()).status == (
            NtStatus.INVALID_DEVICE_STATE if accepted else 0
        )


def test_kernels_before_6_1_send_48_bytes_until_a_version_is_agreed(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image())
    assert guest.operation(Operation.BEGIN_INITIALIZATION, size=48).status == 0
    assert guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0602).encode(), size=48).status == 0


@given(st.lists(st.sampled_from([*Operation, 0, 15, 99]), max_size=8))
def test_any_order_of_operations_is_answered_and_only_the_right_one_leads_to_ready(
    ram: GuestRam, operations: list[int]
) -> None:
    guest = StorVsc(ram, Image())
    wanted = [
        Operation.BEGIN_INITIALIZATION,
        Operation.QUERY_PROTOCOL_VERSION,
        Operation.QUERY_PROPERTIES,
        Operation.END_INITIALIZATION,
    ]
    done = 0
    for operation in operations:
        status = guest.operation(operation, ProtocolVersion(0x0600).encode()).status
        if done < 4 and operation == wanted[done]:
            assert status == 0
            done += 1
        elif done < 4:
            assert status in (NtStatus.INVALID_DEVICE_STATE, NtStatus.INVALID_PARAMETER)
    assert (guest.device.state is State.READY) == (done == 4)


def test_a_request_before_the_handshake_is_refused_with_an_srb_status_that_linux_takes_for_an_error(
    ram: GuestRam,
) -> None:
    guest = StorVsc(ram, Image())
    guest.submit(rw10(READ, 0, 1), 512)
    (completion,) = guest.completions()
    assert completion.packet.status == NtStatus.INVALID_DEVICE_STATE
    assert completion.request.srb_status == SrbStatus.INVALID_REQUEST


def test_linux_probes_the_whole_bus_and_finds_one_disk(guest: StorVsc) -> None:
    """``scsi_scan_host`` with storvsc's limits, then ``sd_probe``."""
    found = []
    for path in range(8):
        for target in range(2):
            at = Address(path, target, 0)
            assert good(guest.command(bytes((INQUIRY, 0, 0, 0, 36)), 36, at=at))
            if guest.data(1) == b"\0":
                found.append(at)
            answer = guest.command(bytes((REPORT_LUNS,)) + bytes(5) + (4096).to_bytes(4, "big"), 4096, at=at)
            assert good(answer)
            expected = 8 if at == Address(0, 0, 0) else 0
            assert answer.data_transfer_length == 8 + expected
            assert guest.data(8) == expected.to_bytes(4, "big") + bytes(4)
    assert found == [Address(0, 0, 0)]
    for page in (0x00, 0x80, 0x83):
        assert good(guest.command(bytes((INQUIRY, 1, page, 0, 252)), 252))
    for page in (0xB0, 0xB1, 0xB2):
        assert guest.command(bytes((INQUIRY, 1, page, 0, 252)), 252).srb_status == 0x86
    assert good(guest.command(bytes((TEST_UNIT_READY,))))
    assert good(guest.command(bytes((0x9E, 0x10)) + bytes(8) + (32).to_bytes(4, "big"), 32))
    assert guest.data(12) == (SECTORS - 1).to_bytes(8, "big") + (512).to_bytes(4, "big")
    assert good(guest.command(bytes((0x1A, 0, 0x3F, 0, 4)), 4))
    assert guest.data(3)[2] == 0x10
    assert good(guest.command(bytes((0x1A, 0, 0x08, 0, 4)), 4))
    io_hints = guest.command(bytes((0x1A, 0, 0x0A, 5, 192)), 192)
    assert (io_hints.srb_status, io_hints.scsi_status) == (0x86, 2)
    assert (io_hints.sense_info_length, io_hints.cdb_or_sense[2], io_hints.cdb_or_sense[12]) == (18, 5, 0x24)
    assert not guest.clock.complaints


def test_where_no_disk_is_only_inquiry_and_report_luns_are_answered(guest: StorVsc) -> None:
    nobody = Address(0, 0, 5)
    assert good(guest.command(bytes((INQUIRY, 0, 0, 0, 36)), 36, at=nobody))
    assert guest.data(1) == b"\x7f"
    assert guest.command(bytes((INQUIRY, 1, 0, 0, 36)), 36, at=nobody).srb_status == 0x86
    for cdb, length in ((bytes((TEST_UNIT_READY,)), 0), (rw10(READ, 0, 1), 512), (b"\xff", 0)):
        answer = guest.command(cdb, length, at=nobody)
        assert (answer.scsi_status, answer.srb_status) == (ScsiStatus.CHECK_CONDITION, SrbStatus.INVALID_LUN)


def test_report_luns_lists_the_disks_of_one_target_in_order(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image(), disks_at=[Address(0, 0, 63), Address(0, 1, 7), HERE, Address(0, 0, 2)])
    guest.initialise()
    assert good(guest.command(bytes((REPORT_LUNS,)) + bytes(5) + (4096).to_bytes(4, "big"), 4096))
    assert [guest.data(40)[i : i + 2] for i in range(8, 32, 8)] == [b"\0\0", b"\0\x02", b"\0\x3f"]


@given(st.data())
def test_data_in_scattered_pages_at_any_offset_arrives_byte_for_byte(ram: GuestRam, data: st.DataObject) -> None:
    image = Image()
    guest = StorVsc(ram, image)
    guest.initialise()
    reference = bytearray(image.size)
    random = Random(data.draw(st.integers(0, 2**32)))
    for _ in range(data.draw(st.integers(1, 6))):
        lba = data.draw(st.integers(0, SECTORS - 1))
        count = data.draw(st.integers(1, SECTORS - lba))
        offset = data.draw(st.integers(0, 511)) * 8
        pfns = random.sample(range(70, 250), 40)
        size = count * 512
        buffer = b"".join(ram.views(GpaRange(size, offset, tuple(map(Pfn, pfns[: -(-(offset + size) // PAGE)])))))
        if data.draw(st.booleans()):
            guest.submit(rw10(WRITE, lba, count), size, DataIn.WRITE, offset=offset, pfns=pfns)
            reference[lba * 512 : lba * 512 + size] = buffer
        else:
            guest.submit(rw10(READ, lba, count), size, offset=offset, pfns=pfns)
            used = GpaRange(size, offset, tuple(map(Pfn, pfns[: -(-(offset + size) // PAGE)])))
            assert b"".join(ram.views(used)) == reference[lba * 512 : lba * 512 + size]
        (completion,) = guest.completions()
        assert good(completion.request)
        assert completion.request.data_transfer_length == size
    assert image.data == reference


def test_a_read_touches_nothing_beyond_the_transfer_length(ram: GuestRam, guest: StorVsc) -> None:
    ram.bytes[100 * PAGE : 102 * PAGE] = b"\xee" * 2 * PAGE
    request = VmscsiRequest(
        cdb_length=10, data_in=DataIn.READ, data_transfer_length=512, cdb_or_sense=rw10(READ, 0, 1).ljust(20, b"\0")
    )
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
    header = encode([GpaRange(2 * PAGE, 0, (Pfn(100), Pfn(101)))])
    guest.channel.send(PacketType.GPA_DIRECT, payload, 9, COMPLETION_REQUESTED, header)
    assert guest.completions()[0].request.data_transfer_length == 512
    assert guest.data(2 * PAGE) == bytes(512) + b"\xee" * (2 * PAGE - 512)


def test_one_flipped_byte_in_the_image_reaches_the_guest(ram: GuestRam) -> None:
    guest = StorVsc(ram, FlippedByte(Image(), 777))
    guest.initialise()
    assert good(guest.command(rw10(READ, 0, 8), PAGE))
    assert guest.data(PAGE) == bytes(777) + b"\xff" + bytes(PAGE - 778)


def test_a_burst_of_requests_gives_one_signal(guest: StorVsc) -> None:
    before = guest.channel.signals
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=VmscsiRequest().encode()).encode()
    guest.channel.send_all([(PacketType.IN_BAND, payload, number, 1, b"") for number in range(1, 33)])
    assert guest.channel.signals == before + 1
    assert len(guest.completions()) == 32


def test_requests_complete_in_whatever_order_the_disk_has_and_a_reset_does_not_wait(ram: GuestRam) -> None:
    image = Image(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    ids = [guest.submit(rw10(READ, number, 1), 512) for number in range(4)]
    assert guest.operation(Operation.RESET_BUS, transaction_id=2**64 - 4).status == 0
    image.waiting.reverse()
    image.work()
    assert [completion.transaction_id for completion in guest.completions()] == ids[::-1]


def test_more_requests_than_the_queue_depth_wait_in_the_ring(ram: GuestRam) -> None:
    image = Image(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    total = QUEUE_DEPTH + 50
    for number in range(total):
        guest.submit(rw10(READ, number % SECTORS, 1), 512)
    assert len(image.waiting) == QUEUE_DEPTH
    completed = 0
    while image.waiting:
        image.work(10)
        completed += len(guest.completions())
    assert completed == total


def test_close_waits_for_the_disk_and_leaves_the_ring_alone(ram: GuestRam) -> None:
    image = Image(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    guest.submit(rw10(READ, 0, 1), 512)
    guest.submit(rw10(READ, 1, 1), 512)
    closed: list[bool] = []
    guest.device.close(lambda: closed.append(True))
    image.work(1)
    assert not closed, "one request still owns guest pages"
    image.work()
    assert closed == [True]
    assert not guest.completions()
    guest.channel.open(guest.device)
    guest.initialise()
    assert closed == [True]


def test_an_idle_channel_closes_at_once(guest: StorVsc) -> None:
    closed: list[bool] = []
    guest.device.close(lambda: closed.append(True))
    guest.device.doorbell()
    assert closed == [True]


BEYOND = tuple(map(Pfn, (2**52 - 1, 2**40, 256)))


@pytest.mark.parametrize(
    ("kind", "header", "length", "direction"),
    [
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, BEYOND[:1])]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(8192, 4095, (Pfn(255), *BEYOND[1:]))]), 8192, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(256, 0, (Pfn(100),))]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))] * 2), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))]), 512, DataIn.NONE),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, (Pfn(100),))]), 512, 77),
        (PacketType.GPA_DIRECT, encode([GpaRange(512, 0, ())]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([]), 512, DataIn.READ),
        (PacketType.GPA_DIRECT, b"", 512, DataIn.READ),
        (PacketType.GPA_DIRECT, encode([GpaRange(2**20, 0, tuple(map(Pfn, range(256))))]), 2**20, DataIn.READ),
        (PacketType.IN_BAND, b"", 512, DataIn.READ),
    ],
)
def test_a_request_whose_memory_makes_no_sense_is_an_error_for_the_guest_and_a_complaint(
    ram: GuestRam, guest: StorVsc, kind: PacketType, header: bytes, length: int, direction: int
) -> None:
    request = VmscsiRequest(
        data_in=direction, data_transfer_length=length, cdb_or_sense=rw10(READ, 0, 1).ljust(20, b"\0")
    )
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
    ram.bytes[100 * PAGE : 101 * PAGE] = b"\xdd" * PAGE
    guest.channel.send(kind, payload, 5, COMPLETION_REQUESTED, header)
    (completion,) = guest.completions()
    assert completion.transaction_id == 5
    assert (completion.request.srb_status, completion.request.scsi_status) == (0x86, ScsiStatus.CHECK_CONDITION)
    assert completion.request.data_transfer_length == 0
    assert guest.data(PAGE) == b"\xdd" * PAGE
    assert len(guest.clock.complaints) == 1
    assert good(guest.command(bytes((TEST_UNIT_READY,)))), "the channel lives on"


def test_what_cannot_be_completed_is_not_carried_out(ram: GuestRam, guest: StorVsc) -> None:
    request = VmscsiRequest(
        data_in=DataIn.WRITE, data_transfer_length=512, cdb_or_sense=rw10(WRITE, 0, 1).ljust(20, b"\0")
    )
    payload = VstorPacket(Operation.EXECUTE_SRB, flags=1, body=request.encode()).encode()
    header = encode([GpaRange(512, 0, (Pfn(100),))])
    ram.bytes[100 * PAGE : 101 * PAGE] = b"\xdd" * PAGE
    guest.channel.send(PacketType.GPA_DIRECT, payload, 0, COMPLETION_REQUESTED, header)
    guest.channel.send(PacketType.GPA_DIRECT, payload, 3, 0, header)
    guest.channel.send(PacketType.COMPLETION, payload, 3, 0)
    assert not guest.completions()
    assert len(guest.clock.complaints) == 3
    assert isinstance(guest.image, Image)
    assert guest.image.data == bytes(guest.image.size)


@pytest.mark.parametrize("size", [0, 8, 40])
def test_a_packet_that_is_too_short_is_still_completed(guest: StorVsc, size: int) -> None:
    guest.channel.send(PacketType.IN_BAND, b"\3" + bytes(size - 1) if size else b"", 6, COMPLETION_REQUESTED)
    (completion,) = guest.completions()
    assert completion.packet.status == NtStatus.INVALID_PARAMETER
    assert completion.request.srb_status == SrbStatus.INVALID_REQUEST


@given(st.lists(st.tuples(st.sampled_from(list(PacketType)), st.binary(max_size=128), st.integers(0, 3)), max_size=10))
def test_no_garbage_breaks_the_channel(ram: GuestRam, packets: list[tuple[PacketType, bytes, int]]) -> None:
    guest = StorVsc(ram, Image())
    guest.initialise()
    for kind, payload, transaction_id in packets:
        guest.channel.send(kind, payload, transaction_id, transaction_id & 1, bytes(8) + payload[:8].ljust(8, b"\0"))
        guest.channel.receive()
    assert good(guest.command(bytes((INQUIRY, 0, 0, 0, 36)), 36))


def test_without_sub_channels_a_request_for_some_is_refused(guest: StorVsc) -> None:
    answer = guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    assert answer.status == NtStatus.INVALID_PARAMETER
    assert not guest.offered


def test_granted_sub_channels_are_offered_and_complete_what_came_through_them(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image(), max_sub_channels=3)
    assert guest.initialise() == Properties(3, 1, 0x40000)
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(4).encode()).status != 0
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(2).encode()).status == 0
    assert [device.offer.sub_channel_index for device in guest.offered] == [1, 2]
    assert {device.offer.instance_id for device in guest.offered} == {INSTANCE}
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode()).status != 0
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.offered[0])
    transaction_id = guest.submit(rw10(READ, 0, 1), 512, channel=sub_channel)
    assert not guest.completions()
    (completion,) = guest.completions(sub_channel)
    assert completion.transaction_id == transaction_id
    assert good(completion.request)


def test_an_old_kernel_creates_sub_channels_first_and_their_requests_wait_for_the_end(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image(), max_sub_channels=1)
    guest.operation(Operation.BEGIN_INITIALIZATION)
    guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0600).encode())
    guest.operation(Operation.QUERY_PROPERTIES)
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode()).status == 0
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.offered[0])
    guest.submit(rw10(READ, 0, 1), 512, channel=sub_channel)
    assert not guest.completions(sub_channel)
    assert guest.operation(Operation.END_INITIALIZATION).status == 0
    assert len(guest.completions(sub_channel)) == 1


def test_a_sub_channel_takes_no_handshake(ram: GuestRam) -> None:
    guest = StorVsc(ram, Image(), max_sub_channels=1)
    guest.initialise()
    guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.offered[0])
    packet = VstorPacket(Operation.BEGIN_INITIALIZATION, flags=1).encode()
    sub_channel.send(PacketType.IN_BAND, packet, INIT_ID, COMPLETION_REQUESTED)
    (completion,) = guest.completions(sub_channel)
    assert completion.packet.status == NtStatus.INVALID_DEVICE_STATE
