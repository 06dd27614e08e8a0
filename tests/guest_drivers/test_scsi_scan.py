"""What the guest finds on a controller, and what it asks to find it."""

from __future__ import annotations

import pytest

from guest.drivers.scsi.command import Opcode
from host.vsp.storage.connection import Connection
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.outcome import Done
from protocol.ring import Packet
from protocol.shell.memory import GuestRam
from protocol.wire.vstor import VmscsiRequest, VstorPacket
from tests.guest_drivers.storage import BLOCK, FIRST, Machine, image


def test_disks_are_found_wherever_they_are(ram: GuestRam) -> None:
    machine = Machine(ram)
    machine.attach(
        {
            Address(0, 0, 0): image(128),
            Address(0, 0, 7): image(256),
            Address(3, 1, 2): image(384),  # no LUN 0 on this target
            Address(7, 1, 0): image(512, read_only=True),
        }
    )
    for cpu in range(2):
        found = [
            (disk.name, disk.words.channel, disk.words.target, disk.words.lun, disk.words.blocks)
            for disk in machine.driver(cpu).disks
        ]
        assert found == [
            ("sda", 0, 0, 0, 128),
            ("sdb", 0, 0, 7, 256),
            ("sdc", 3, 1, 2, 384),
            ("sdd", 7, 1, 0, 512),
        ]
    words = machine.disk(name="sdd").words
    assert (words.read_only, words.write_cache, words.max_transfer) == (1, 1, 0x40000)
    assert (words.vendor, words.model, words.serial) == ("Msft", "Virtual Disk", f"{3:032x}")
    assert machine.disk().words.read_only == 0
    assert machine.bench.buses[0].log[0] == "sd 0:0:0:0: [sda] 128 512-byte logical blocks"


def test_a_disk_is_asked_what_linux_asks_and_nothing_else(ram: GuestRam, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Address, str]] = []
    execute = ScsiController.execute

    def listen(self: ScsiController, address: Address, cdb: bytes, data: GuestBuffer, done: Done) -> None:
        page = f" {cdb[2]:02x}" if cdb[0] in (Opcode.INQUIRY, Opcode.MODE_SENSE) else ""
        asked.append((address, f"{Opcode(cdb[0]).name}{page} {data.length}"))
        execute(self, address, cdb, data, done)

    monkeypatch.setattr(ScsiController, "execute", listen)
    disk = Address(2, 1, 4)
    Machine(ram).attach({disk: image()})
    assert [what for where, what in asked if where == disk] == [
        "INQUIRY 00 36",
        "INQUIRY 00 96",
        "INQUIRY 00 4",  # the list of pages
        "INQUIRY 00 7",
        "INQUIRY 00 4",  # page 0, which is in the list
        "INQUIRY 00 7",
        "INQUIRY 00 36",
        "INQUIRY 80 4",
        "INQUIRY 80 36",
        "INQUIRY 00 36",
        "INQUIRY 83 4",
        "INQUIRY 83 52",
        "TEST_UNIT_READY 0",
        "SERVICE_ACTION_IN_16 32",
        "MODE_SENSE 3f 4",
        "MODE_SENSE 08 4",
        "MODE_SENSE 08 16",
    ]
    others = [(where, what) for where, what in asked if where != disk]
    pairs = [Address(path, target, 0) for path in range(8) for target in range(2)]
    absent = ("INQUIRY 00 36", "INQUIRY 00 96", "REPORT_LUNS 4096")
    assert others == [(where, what) for where in pairs for what in absent]


def test_blocks_of_4096_bytes(ram: GuestRam) -> None:
    machine = Machine(ram)
    machine.attach({FIRST: image(128)}, block_size=4096)
    words = machine.disk().words
    assert (words.block_size, words.blocks, machine.disk().size) == (4096, 16, 128 * BLOCK)


def test_only_a_unit_that_queues_commands_is_told_how(ram: GuestRam, monkeypatch: pytest.MonkeyPatch) -> None:
    """``storvsc_queuecommand`` looks at ``tagged_supported``, which is not known before the INQUIRY data."""
    told: list[tuple[int, int, int]] = []
    execute = Connection.execute

    def listen(self: Connection, packet: Packet, vstor: VstorPacket) -> None:
        srb = VmscsiRequest.decode(vstor.body)
        told.append((srb.srb_flags, srb.queue_tag, srb.queue_action))
        execute(self, packet, vstor)

    monkeypatch.setattr(Connection, "execute", listen)
    machine = Machine(ram)
    machine.attach({FIRST: image()})
    found = 2
    assert told[:found] == [(0x48, 0, 0)] * found
    assert told[found] == (0x14A, 0xFF, 0x20)
    absent = told[13:]
    assert absent[:3] == [(0x48, 0, 0)] * 3
    del told[:]
    machine.read(0, 1)
    assert told == [(0x14A, 0xFF, 0x20)]
