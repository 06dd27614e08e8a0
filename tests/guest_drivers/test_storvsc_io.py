"""Disks found and used through the real storvsp, from several CPUs."""

from __future__ import annotations

from typing import Any

import pytest

from guest.block.disk import BlockError
from guest.drivers.scsi.command import Opcode
from protocol.shell.memory import GuestRam
from tests.guest_drivers.storage import BLOCK, FIRST, Machine, image
from tests.vsp.image import Image


def test_two_controllers_keep_their_disks_apart(ram: GuestRam) -> None:
    machine = Machine(ram)
    one, two = image(128), Image(bytes(256 * BLOCK))
    machine.attach({FIRST: one}, relid=1)
    machine.attach({FIRST: two}, relid=2, target_cpu=1)
    assert machine.words(2).host_no == 1
    machine.write(9, b"x" * BLOCK, cpu=1, name="sdb")
    assert two.data[9 * BLOCK : 10 * BLOCK] == b"x" * BLOCK
    assert machine.read(9, 1) == one.data[9 * BLOCK : 10 * BLOCK]


@pytest.mark.parametrize("cpu", [0, 1])
def test_any_cpu_reads_and_writes(ram: GuestRam, cpu: int) -> None:
    machine = Machine(ram)
    disk = image(1024)
    machine.attach({FIRST: disk}, target_cpu=1)
    assert machine.read(3, 500, cpu) == disk.data[3 * BLOCK : 503 * BLOCK]
    data = bytes(range(256)) * 20
    machine.write(100, data, cpu)
    assert disk.data[100 * BLOCK : 110 * BLOCK] == data
    machine.bench.run(machine.disk(cpu).flush(), cpu)
    assert disk.flushes == 1


def test_completions_on_one_cpu_reach_the_submitters_on_both(ram: GuestRam) -> None:
    machine = Machine(ram)
    disk = image(1024, slow=True)
    machine.attach({FIRST: disk}, target_cpu=1)
    queue = machine.driver().queue
    submitted = [each.submitted for each in queue.counts]
    ended: list[tuple[int, int]] = []

    async def read(cpu: int, lba: int) -> None:
        await machine.disk(cpu).read(lba, 8, machine.pages(1, cpu))
        ended.append((cpu, lba))

    for number in range(16):
        cpu = number % 2
        machine.bench.cores[cpu].sched.spawn(read(cpu, 8 * number), "read")
    machine.bench.settle()
    assert len(queue.in_flight(machine.bench.lines[1].relid)) == len(disk.waiting) == 16
    counts = machine.driver(1).queue.counts[1]
    here, others, calls = counts.completed_here, counts.completed_for_others, machine.bench.calls
    disk.waiting.reverse()
    disk.work()
    machine.bench.settle()
    assert sorted(ended) == [(number % 2, 8 * number) for number in sorted(range(16), key=lambda n: n % 2)]
    assert ended[0][1] > ended[-1][1], "in the order of the answers"
    assert [each.submitted for each in queue.counts] == [submitted[0] + 8, submitted[1] + 8]
    assert (counts.completed_here - here, counts.completed_for_others - others) == (8, 8)
    assert machine.bench.calls > calls
    assert not any(each.tags for each in queue.counts)


def test_a_cpu_that_has_no_tag_left_waits_for_one(ram: GuestRam) -> None:
    machine = Machine(ram, depth=2)
    disk = image(1024, slow=True)
    machine.attach({FIRST: disk})
    page = machine.pages(1)
    for number in range(7):
        machine.bench.cores[0].sched.spawn(machine.disk().read(number, 1, page), "read")
    for left in (2, 2, 2, 1, 0):
        machine.bench.settle()
        assert len(disk.waiting) == left
        disk.work()
    machine.bench.settle()
    counts = machine.driver().queue.counts[0]
    assert (counts.tags, counts.waited_for_tag) == (0, 5)


def test_a_full_ring_delays_requests_and_loses_none(ram: GuestRam) -> None:
    cpus, each = 4, 64
    machine = Machine(ram, cpus, depth=each)
    disk = image(1024)
    line = machine.attach({FIRST: disk}, target_cpu=3)
    ended = [0] * cpus

    async def read(cpu: int, buffer: Any) -> None:
        await machine.disk(cpu).read(0, 512, buffer)
        ended[cpu] += 1

    line.deaf = True
    for cpu in range(cpus):
        buffer = machine.pages(64, cpu)
        for _ in range(each):
            machine.bench.cores[cpu].sched.spawn(read(cpu, buffer), "read")
    machine.bench.settle()
    counts = list(machine.driver().queue.counts)
    assert sum(cpu.waited_for_room for cpu in counts) > 0
    assert ended == [0] * cpus
    line.deaf = False
    line.doorbell()
    machine.bench.settle()
    assert ended == [each] * cpus


@pytest.mark.parametrize(("lba", "blocks"), [(0, 0), (-1, 1), (1024, 1), (1020, 5), (0, 513)])
def test_a_request_that_no_disk_could_carry_out_is_not_sent(ram: GuestRam, lba: int, blocks: int) -> None:
    machine = Machine(ram)
    machine.attach({FIRST: image(1024)})
    before = machine.words().completions
    with pytest.raises(BlockError, match="it has 1024 blocks, a request moves 262144 bytes"):
        machine.bench.run(machine.disk().read(lba, blocks, machine.pages(64)))
    assert machine.words().completions == before


def test_a_large_disk_is_read_with_16_byte_commands() -> None:
    from guest.drivers.scsi.command import NO_PAGE, transfer

    assert transfer((1 << 32) - 8, 8, 4096, NO_PAGE, False).cdb[0] == Opcode.READ_10
    far = transfer(1 << 32, 8, 4096, NO_PAGE, True)
    assert far.cdb == bytes((Opcode.WRITE_16, 0)) + (1 << 32).to_bytes(8, "big") + bytes((0, 0, 0, 8, 0, 0))
