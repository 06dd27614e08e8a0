"""The program that reads a whole disk from all CPUs, compared with what is in the image."""

from __future__ import annotations

from errno import EIO
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.block.disk import Disk
from guest.drivers.storvsc.driver import Storvsc
from guest.kernel.core import Core
from guest.programs.checksum import Checksum
from guest.programs.extents import Extents
from host.vsp.storage.faults import FlippedByte
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from tests.guest_drivers.storage import BLOCK, FIRST, Machine, image

EXTENT = 0x40000 // BLOCK
"""Blocks that one request moves at most."""
CPUS = 3


def checksum(core: Core, storvsc: Storvsc) -> Checksum:
    return Checksum(core, storvsc.disks, window=8)


def free_pages(machine: Machine) -> int:
    return machine.bench.cores[0].pages.free_pages()


def started(machine: Machine, depth: int = 3) -> Checksum:
    """The part of the digest's CPU, running on all of them."""
    for program in reversed(machine.programs):  # the digest's CPU need not be the first
        program.start("sda", depth)
    program = machine.programs[0]
    assert isinstance(program, Checksum)
    return program


@pytest.mark.parametrize(
    "blocks",
    [1, 7, EXTENT - 1, EXTENT, EXTENT + 1, 3 * EXTENT, 11 * EXTENT + 5],
    ids=lambda blocks: f"{blocks}-blocks",
)
def test_the_checksum_is_that_of_the_bytes(ram: GuestRam, blocks: int) -> None:
    machine = Machine(ram, CPUS, checksum)
    disk = image(blocks)
    machine.attach({FIRST: disk}, target_cpu=1)
    free = free_pages(machine)
    program = started(machine)
    machine.bench.settle()
    assert (program.finished, program.error) == (True, None)
    assert program.digest == sha256(disk.data).hexdigest()
    assert program.words.done == program.words.total == blocks * BLOCK
    assert free_pages(machine) == free
    read = [cpu.read for cpu in program.cpus]
    assert sum(read) == blocks * BLOCK
    assert all(read) == (blocks > 2 * EXTENT), "striped over all CPUs"


def test_a_slow_disk_that_answers_in_any_order_changes_nothing(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    disk = image(30 * EXTENT + 3, slow=True)
    machine.attach({FIRST: disk})
    program = started(machine)
    done = []
    while not program.finished:
        machine.bench.settle()
        assert disk.waiting or program.finished, "somebody waits for what nobody does"
        disk.waiting.reverse()
        disk.work(2)
        done.append(program.words.done)
    assert program.digest == sha256(disk.data).hexdigest()
    assert done == sorted(done), "progress only grows"
    assert 0 < done[len(done) // 2] < program.words.total


def test_no_more_is_read_ahead_than_the_window_holds(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    disk = image(30 * EXTENT, slow=True)
    machine.attach({FIRST: disk})
    program = started(machine, depth=5)
    machine.bench.settle()
    assert len(disk.waiting) == 8
    first = disk.waiting.pop(0)
    disk.work()
    machine.bench.settle()
    assert (disk.waiting, program.words.cursor) == ([], 0), "the window is full of what comes after the first"
    first()
    machine.bench.settle()
    assert (len(disk.waiting), program.words.cursor) == (8, 8)


def test_a_lie_of_one_byte_is_seen(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    disk = image(4 * EXTENT)
    machine.attach({FIRST: FlippedByte(disk, 3 * EXTENT * BLOCK + 17)})  # type: ignore[dict-item]
    program = started(machine)
    machine.bench.settle()
    assert program.error is None
    assert program.digest != sha256(disk.data).hexdigest()


def test_an_io_error_ends_the_checksum_and_gives_all_pages_back(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    disk = image(20 * EXTENT, slow=True)
    machine.attach({FIRST: disk}, target_cpu=2)
    free = free_pages(machine)
    program = started(machine)
    machine.bench.settle()
    disk.work(2)
    machine.bench.settle()
    disk.failure = OSError(EIO, "broken")
    while not program.finished:
        assert disk.waiting
        disk.work(1)
        machine.bench.settle()
    assert program.digest is None
    assert program.error is not None
    assert program.error.startswith("sda: read of 512 blocks at LBA ")
    assert program.error.endswith("failed: scsi status 0x02, srb status 0x84, sense 3/11/00 (MEDIUM_ERROR)")
    assert [each.error for each in machine.programs] == [program.error] * CPUS, "every CPU knows why"
    assert free_pages(machine) == free


def test_a_guest_without_memory_for_the_window_says_so(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    machine.attach({FIRST: image(20 * EXTENT)})
    core = machine.bench.cores[0]
    kept = [core.pages.allocate(100) for _ in range(37)]
    kept += [core.pages.allocate(1) for _ in range(free_pages(machine) - 150)]
    program = started(machine)
    machine.bench.settle()
    assert program.finished
    assert program.error == "the guest's memory is full: no 64 contiguous pages are free"


def test_a_disk_that_is_not_there_is_the_operators_mistake(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, checksum)
    machine.attach({FIRST: image()})
    with pytest.raises(OperatorError, match=r"there is no disk sdx: choose one of those attached \(sda\)"):
        machine.programs[0].start("sdx")
    machine.bench.settle()


@given(st.integers(1, 5000), st.integers(0, 100), st.integers(1, 300), st.integers(1, 9))
def test_extents_cover_a_range_once(blocks: int, first: int, size: int, cpus: int) -> None:
    extents = Extents(first * BLOCK, blocks * BLOCK, size * BLOCK, BLOCK)
    indices = sorted(index for cpu in range(cpus) for index in extents.stripe(cpu, cpus))
    assert indices == list(range(len(extents)))
    lba = first
    for index in indices:
        extent = extents[index]
        assert (extent.lba, extent.offset, extent.length) == (lba, lba * BLOCK, extent.blocks * BLOCK)
        assert 0 < extent.blocks <= size
        lba += extent.blocks
    assert lba == first + blocks


def test_programs_take_the_disk_by_name(ram: GuestRam) -> None:
    machine = Machine(ram, 1, checksum)
    machine.attach({FIRST: image(8)})
    machine.attach({FIRST: image(16)}, relid=2)
    disk: Disk = machine.disk(name="sdb")
    machine.programs[0].start("sdb")
    machine.bench.settle()
    assert machine.programs[0].words.total == disk.size == 16 * BLOCK
