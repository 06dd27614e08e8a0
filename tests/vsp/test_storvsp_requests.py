"""SCSI requests over real rings, from the probe of a Linux guest to the close with requests in flight."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from host.vsp.storage.connection import QUEUE_DEPTH
from host.vsp.storage.controller import Address
from host.vsp.storage.faults import FlippedByte
from host.vsp.storage.scsi.disk import ScsiDisk
from protocol.ids import Pfn
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.gpa_direct import encode
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange
from protocol.wire.vstor import (
    DataIn,
    Operation,
    ScsiStatus,
    SrbStatus,
    VmscsiRequest,
    VstorPacket,
)
from tests.vsp.image import SECTORS, Image, blank
from tests.vsp.storvsc import (
    HERE,
    INQUIRY,
    INSTANCE,
    PAGE,
    READ,
    REPORT_LUNS,
    TEST_UNIT_READY,
    WRITE,
    StorVsc,
    good,
    rw10,
)


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
    guest = StorVsc(ram, blank(), disks_at=[Address(0, 0, 63), Address(0, 1, 7), HERE, Address(0, 0, 2)])
    guest.initialise()
    assert good(guest.command(bytes((REPORT_LUNS,)) + bytes(5) + (4096).to_bytes(4, "big"), 4096))
    assert [guest.data(40)[i : i + 2] for i in range(8, 32, 8)] == [b"\0\0", b"\0\x02", b"\0\x3f"]


@given(st.data())
def test_data_in_scattered_pages_at_any_offset_arrives_byte_for_byte(ram: GuestRam, data: st.DataObject) -> None:
    image = blank()
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
    guest = StorVsc(ram, FlippedByte(blank(), 777))
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
    image = blank(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    ids = [guest.submit(rw10(READ, number, 1), 512) for number in range(4)]
    assert guest.operation(Operation.RESET_BUS, transaction_id=2**64 - 4).status == 0
    image.waiting.reverse()
    image.work()
    assert [completion.transaction_id for completion in guest.completions()] == ids[::-1]


def test_more_requests_than_the_queue_depth_wait_in_the_ring(ram: GuestRam) -> None:
    image = blank(slow=True)
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
    image = blank(slow=True)
    guest = StorVsc(ram, image)
    guest.initialise()
    guest.submit(rw10(READ, 0, 1), 512)
    guest.submit(rw10(READ, 1, 1), 512)
    closed: list[bool] = []
    guest.device.close(lambda: closed.append(True))
    image.work(1)
    assert guest.device.version is None
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


def test_an_exchanged_disk_answers_new_commands_and_the_old_one_ends_its_own(ram: GuestRam) -> None:
    old = blank(slow=True)
    guest = StorVsc(ram, old)
    guest.initialise()
    under_way = guest.submit(rw10(READ, 0, 1), 512)
    guest.controller.exchange(HERE, ScsiDisk(Image(b"\x99" * 512), INSTANCE, guest.clock.complain))
    assert good(guest.command(rw10(READ, 0, 1), 512))
    assert guest.data(512) == b"\x99" * 512
    old.work()
    assert [completion.transaction_id for completion in guest.completions()] == [under_way]
