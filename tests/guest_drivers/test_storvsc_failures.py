"""Disks that fail, controllers that go, hosts that misbehave."""

from __future__ import annotations

from errno import EIO

import pytest

from guest.block.disk import BlockError
from host.vsp.storage.connection import Connection
from host.vsp.storage.controller import ScsiController
from host.vsp.storage.storvsp import Storvsp
from host.vsp.testing import Clock, OfferedSubChannels
from protocol.errors import OperatorError
from protocol.ids import Relid
from protocol.ring import Packet, PacketType
from protocol.ring.memory import READ_INDEX
from protocol.shell.memory import GuestRam
from protocol.wire.vstor import Operation, VstorPacket
from tests.guest_drivers.bench import instance
from tests.guest_drivers.storage import BLOCK, FIRST, Machine, image


class Deaf(Storvsp):
    """Shakes hands and carries out nothing."""

    def __init__(self) -> None:
        super().__init__(Clock(), ScsiController({}), instance(5), OfferedSubChannels())
        self.commands = 0

    def operate(self, connection: Connection, packet: Packet, vstor: VstorPacket) -> None:
        if vstor.operation == Operation.EXECUTE_SRB:
            self.commands += 1
        else:
            super().operate(connection, packet, vstor)


def test_an_answer_counts_only_on_the_channel_of_its_request(ram: GuestRam) -> None:
    machine = Machine(ram)
    slow = image(128, slow=True)
    machine.attach({FIRST: slow}, relid=1)
    line = machine.attach({FIRST: image(128)}, relid=2)
    machine.bench.cores[0].sched.spawn(machine.disk().read(0, 1, machine.pages(1)), "read")
    machine.bench.settle()
    (tag,) = machine.driver().queue.in_flight(Relid(1))
    line.outgoing.put(PacketType.COMPLETION, VstorPacket(Operation.COMPLETE_IO).encode(), tag + 1)
    line.outgoing.commit()
    line.signal()
    machine.bench.settle()
    assert (machine.words(2).unknown, machine.driver().queue.in_flight(Relid(1))) == (1, [tag])


def test_a_request_that_gets_its_turn_after_the_disk_has_gone_is_not_sent(ram: GuestRam) -> None:
    machine = Machine(ram, depth=1)
    disk = image(1024, slow=True)
    line = machine.attach({FIRST: disk})
    page = machine.pages(1)
    outcome: list[str] = []

    async def read(lba: int) -> None:
        try:
            await machine.disk(1).read(lba, 1, page)
            outcome.append("read")
        except BlockError as error:
            outcome.append(str(error))

    for lba in 1, 2:
        machine.bench.cores[1].sched.spawn(read(lba), "read")
    machine.bench.settle()
    machine.bench.cores[0].sched.spawn(machine.driver().remove(line.views[0].device), "remove")
    machine.bench.settle()
    disk.work()
    machine.bench.settle()
    assert outcome[0] == "read"
    assert outcome[1].startswith("sda: read of 1 blocks at LBA 2 failed")
    assert not disk.waiting


def test_a_host_that_spoils_the_ring_fails_requests_and_not_the_guest(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024, slow=True)
    line = machine.attach({FIRST: disk})
    ring = ram.ring(range(line.views[0].words.ring_pfn, line.views[0].words.ring_pfn + 32))
    ring.control[READ_INDEX] = 12345
    with pytest.raises(BlockError, match="NO_CONNECT"):
        machine.read(0, 1)
    assert machine.bench.buses[0].log[-1].startswith("hv_storvsc: channel 1: corrupt ring: read_index is 12345")


def test_removal_waits_for_what_is_under_way_and_frees_the_rings(ram: GuestRam) -> None:
    machine = Machine(ram)
    free = machine.bench.cores[0].pages.free_pages()
    disk = image(1024, slow=True)
    line = machine.attach({FIRST: disk}, target_cpu=1)
    page = machine.pages(1)
    machine.bench.cores[1].sched.spawn(machine.disk(1).read(5, 1, page), "read")
    machine.bench.settle()
    held = machine.disk(1)
    machine.bench.cores[0].sched.spawn(machine.driver().remove(line.views[0].device), "remove")
    machine.bench.settle()
    assert line.views[0].mapped, "a request is under way"
    disk.work()
    machine.bench.settle()
    assert not line.views[0].mapped
    machine.bench.cores[0].pages.free(page)
    assert machine.bench.cores[0].pages.free_pages() == free
    assert list(machine.driver(1).disks) == []
    with pytest.raises(BlockError, match="sda: read of 1 blocks at LBA 0 failed: the disk is gone"):
        machine.bench.run(held.read(0, 1, page), 1)
    with pytest.raises(OperatorError, match=r"choose one of those attached \(none\)"):
        machine.disk(1)


def test_a_rescinded_controller_fails_what_is_under_way(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024, slow=True)
    line = machine.attach({FIRST: disk}, target_cpu=1)
    outcome: list[str] = []

    async def read(cpu: int) -> None:
        try:
            await machine.disk(cpu).read(5, 1, machine.pages(1, cpu))
        except BlockError as error:
            outcome.append(str(error))

    for cpu in range(2):
        machine.bench.cores[cpu].sched.spawn(read(cpu), "read")
    machine.bench.settle()
    line.views[0].words.rescind = 1
    machine.bench.run(machine.driver().remove(line.views[0].device))
    machine.bench.settle()
    lost = "sda: read of 1 blocks at LBA 5 failed: scsi status 0x00, srb status 0x20, no sense, NO_CONNECT"
    assert outcome == [lost, lost]


def test_an_error_names_the_place_the_status_and_the_sense(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024)
    machine.attach({FIRST: disk})
    disk.failure = OSError(EIO, "broken")
    before = machine.words().completions
    with pytest.raises(BlockError) as failure:
        machine.read(77, 8, cpu=1)
    assert machine.words().completions - before == 1, "reading a bad block again does not help"
    assert str(failure.value) == (
        "sda: read of 8 blocks at LBA 77 failed: scsi status 0x02, srb status 0x84, sense 3/11/00 (MEDIUM_ERROR)"
    )
    disk.failure = None
    assert machine.read(77, 8) == disk.data[77 * BLOCK : 85 * BLOCK]


def test_a_write_that_fails_is_tried_five_times_more(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024)
    machine.attach({FIRST: disk})
    before = machine.words().completions
    disk.failure = OSError(EIO, "broken")
    with pytest.raises(BlockError, match=r"sense 3/0c/00 \(MEDIUM_ERROR\)"):
        machine.write(0, bytes(BLOCK))
    assert machine.words().completions - before == 6


def test_a_read_only_disk_refuses_once(ram: GuestRam) -> None:
    machine = Machine(ram)
    machine.attach({FIRST: image(read_only=True)})
    before = machine.words().completions
    with pytest.raises(BlockError, match=r"sense 7/27/00 \(DATA_PROTECT\)"):
        machine.write(0, bytes(BLOCK))
    assert machine.words().completions - before == 1


def test_a_unit_attention_costs_one_more_try(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024)
    machine.attach({FIRST: disk})
    disk.size += 8 * BLOCK
    disk.data += bytes(8 * BLOCK)
    before = machine.words().completions
    assert machine.read(0, 1) == disk.data[:BLOCK]
    assert machine.words().completions - before == 2


def test_a_controller_that_is_taken_back_while_it_is_scanned_does_not_block_the_bus(ram: GuestRam) -> None:
    machine = Machine(ram)
    host = Deaf()
    line = machine.bench.plug(host, 0)
    free = machine.bench.cores[0].pages.free_pages()
    ended: list[str] = []

    async def probe() -> None:
        await machine.driver().probe(line.views[0].device)
        await machine.driver().remove(line.views[0].device)
        ended.append("probe")

    machine.bench.cores[0].sched.spawn(probe(), "probe")
    machine.bench.pass_time(100)
    assert (host.commands, ended) == (1, []), "the host may take as long as it likes"
    line.views[0].words.rescind = 1
    machine.bench.pass_time(21)
    assert (host.commands, ended) == (1, ["probe"])
    assert machine.bench.cores[0].pages.free_pages() == free
    assert not machine.driver().queue.counts[0].tags


def test_a_rescind_ends_what_a_probe_waits_for_at_once(ram: GuestRam) -> None:
    machine = Machine(ram)
    host = Deaf()
    line = machine.bench.plug(host, 0)
    ended: list[str] = []

    async def probe() -> None:
        await machine.driver().probe(line.views[0].device)
        await machine.driver().remove(line.views[0].device)
        ended.append("probe")

    machine.bench.cores[0].sched.spawn(probe(), "probe")
    machine.bench.settle()
    line.views[0].words.rescind = 1
    machine.driver().rescinded(line.views[0])
    machine.bench.settle()
    assert (host.commands, ended) == (1, ["probe"])
