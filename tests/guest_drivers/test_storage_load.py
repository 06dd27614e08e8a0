"""The load on disks: what it must notice, and what it must not take for a fault."""

from __future__ import annotations

from errno import EIO

import pytest

from guest.drivers.storvsc.driver import Storvsc
from guest.kernel.core import Core
from guest.programs.load_content import LoadDiskWords
from guest.programs.storage_load import StorageLoad
from host.vsp.storage.controller import Address
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from tests.guest_drivers.bench import instance
from tests.guest_drivers.storage import FIRST, Machine, image
from tests.vsp.image import Image

CPUS = 2
DEPTH = 2
ROUNDS = 60


class LoadedVm:
    """Two CPUs, a disk that works when it is told to, and the load on it."""

    def __init__(self, ram: GuestRam, disk: Image) -> None:
        def load(core: Core, storvsc: Storvsc) -> StorageLoad:
            return StorageLoad(core, storvsc.disks)

        self.machine = Machine(ram, CPUS, load)
        self.disk = disk
        self.line = self.machine.attach({FIRST: disk}, target_cpu=1)
        self.free = self.machine.bench.cores[0].pages.free_pages()
        disk.slow = True

    @property
    def load(self) -> StorageLoad:
        program = self.machine.programs[0]
        assert isinstance(program, StorageLoad)
        return program

    @property
    def layout(self) -> LoadDiskWords:
        return self.load.table[0]

    def start(self, name: str = "sda", **arguments: int) -> None:
        for program in self.machine.programs:
            program.start([name], depth=DEPTH, size=2048, **arguments)
        self.machine.bench.settle()

    def work(self, rounds: int = ROUNDS) -> None:
        """Let the disk answer, and the guest ask again."""
        for _ in range(rounds):
            self.disk.work()
            self.machine.bench.settle()

    def end(self) -> None:
        self.load.stop()
        self.machine.bench.settle()
        self.work(2)
        assert self.load.finished

    def total(self, name: str) -> int:
        return sum(getattr(cpu, name) for cpu in self.load.cpus)

    def controller(self) -> Storvsp:
        device = self.line.device
        assert isinstance(device, Storvsp)
        return device


def test_every_cpu_keeps_its_requests_under_way_until_it_is_told_to_stop(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(512))
    vm.start()
    assert len(vm.disk.waiting) == CPUS * DEPTH
    vm.work()
    assert len(vm.disk.waiting) == CPUS * DEPTH
    vm.end()
    assert vm.load.error is None
    assert not vm.disk.waiting
    assert vm.total("reads") + vm.total("writes") == CPUS * DEPTH * (ROUNDS + 1)
    assert 0 < vm.total("compared") <= vm.total("reads")
    assert vm.total("bytes_written") == 2048 * vm.total("writes")
    assert vm.machine.bench.cores[0].pages.free_pages() == vm.free


def test_a_cpu_that_takes_no_part_has_no_task_and_the_program_ends_all_the_same(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(512))
    for program in vm.machine.programs:
        program.start(["sda"], depth=DEPTH, size=2048, cpus=[0])
    vm.machine.bench.settle()
    assert len(vm.disk.waiting) == DEPTH
    assert vm.load.cpus[1].tasks == 0
    vm.work()
    vm.end()
    assert vm.load.error is None


def test_what_the_words_say_was_written_is_in_the_image(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(512))
    vm.start(seed=3)
    vm.work()
    vm.end()
    written = [index for index in range(vm.layout.extents) if vm.layout.known[index]]
    assert len(written) > 20
    for index in written:
        at = index * vm.layout.stride
        assert vm.layout.expected(3, index) == (bytes(vm.disk.data[at : at + 2048]),)


def test_it_starts_again_with_nothing_known(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(512))
    vm.start(seed=3)
    vm.work()
    vm.end()
    vm.start(seed=4)
    assert vm.total("reads") == vm.total("writes") == 0
    vm.work()
    vm.end()
    assert (vm.load.error, vm.load.words.run) == (None, 2)


def test_a_write_that_got_lost_is_noticed(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(64))
    vm.start()
    vm.work()
    before = bytes(vm.disk.data)
    vm.work(4)
    vm.disk.data[:] = before
    vm.work()
    assert vm.load.finished
    assert vm.load.error is not None and "was written as generation" in vm.load.error
    assert vm.total("failed") == 1


def test_a_byte_that_changes_on_a_disk_that_is_only_read_is_noticed(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(64, read_only=True))
    vm.start()
    vm.work()
    assert vm.total("writes") == 0 and vm.total("compared") > 0
    vm.disk.data[5000] ^= 1
    vm.work()
    assert vm.load.error is not None and "when they were read first" in vm.load.error


def test_a_bad_block_is_a_failure_and_no_interruption(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(64, read_only=True))
    vm.start()
    vm.disk.failure = OSError(EIO, "broken")
    vm.work(3)
    assert vm.load.finished
    assert vm.load.error is not None and "MEDIUM_ERROR" in vm.load.error
    assert (vm.total("failed") > 0, vm.total("interrupted")) == (True, 0)


def test_a_disk_that_is_pulled_out_is_waited_for_and_verified_when_it_is_back(ram: GuestRam) -> None:
    vm = LoadedVm(ram, image(256))
    vm.start(seed=5)
    vm.work()
    vm.controller().controller.detach(FIRST)
    vm.work(2)
    vm.machine.bench.pass_time(0.3)
    assert vm.total("interrupted") >= CPUS * DEPTH
    assert vm.total("waiting") == CPUS * DEPTH
    assert list(vm.machine.driver().disks) == []
    done, compared = vm.total("writes"), vm.total("compared")
    vm.controller().controller.attach(FIRST, lambda: ScsiDisk(vm.disk, instance(0), lambda error: None))
    vm.work()
    vm.machine.bench.pass_time(0.3)
    vm.work()
    assert vm.total("waiting") == 0
    assert vm.total("writes") > done and vm.total("compared") > compared
    vm.end()
    assert (vm.load.error, vm.total("failed")) == (None, 0)


def test_a_disk_is_found_by_its_name_its_serial_number_or_its_place(ram: GuestRam) -> None:
    machine = Machine(ram)
    machine.attach({FIRST: image(), Address(0, 0, 3): image()})
    one, two = machine.driver().disks
    assert (one.words.serial, two.words.serial) == (instance(0).hex, instance(1).hex)
    find = machine.driver(1).disks.find
    assert find("sdb").generation == find(instance(1).hex).generation == find(f"{instance(1)}/3").generation
    with pytest.raises(OperatorError, match="there is no disk"):
        find(f"{instance(1)}/1")
