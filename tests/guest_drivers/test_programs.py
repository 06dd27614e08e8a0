"""How programs start, end and start again, whatever they do."""

from __future__ import annotations

from hashlib import sha256

import pytest

from guest.drivers.storvsc.driver import Storvsc
from guest.kernel.core import Core
from guest.programs.checksum import Checksum
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from tests.guest_drivers.storage import FIRST, Machine, image
from tests.vsp.image import Image

CPUS = 3


def with_disk(ram: GuestRam, disk: Image) -> Machine:
    def checksum(core: Core, storvsc: Storvsc) -> Checksum:
        return Checksum(core, storvsc.disks)

    machine = Machine(ram, CPUS, checksum)
    machine.attach({FIRST: disk})
    return machine


def run(machine: Machine, disk_name: str = "sda") -> Checksum:
    for program in machine.programs:
        program.start(disk_name)
    machine.bench.settle()
    program = machine.programs[0]
    assert isinstance(program, Checksum)
    return program


def test_a_program_that_has_ended_starts_again_with_new_results(ram: GuestRam) -> None:
    disk = image()
    machine = with_disk(ram, disk)
    assert run(machine).digest == sha256(disk.data).hexdigest()
    disk.data[1000] ^= 0xFF
    again = run(machine)
    assert again.digest == sha256(disk.data).hexdigest()
    assert (again.words.run, again.words.done) == (2, disk.size)


def test_the_cpu_that_starts_first_waits_for_the_one_that_clears_the_words(ram: GuestRam) -> None:
    disk = image()
    machine = with_disk(ram, disk)
    run(machine)
    machine.programs[2].start("sda")
    machine.bench.settle()
    assert machine.programs[2].finished, "still the results of the last run"
    for program in machine.programs[:2]:
        program.start("sda")
    machine.bench.settle()
    assert (machine.programs[0].digest, machine.programs[0].words.run) == (sha256(disk.data).hexdigest(), 2)


def test_a_program_that_runs_is_not_started_a_second_time(ram: GuestRam) -> None:
    disk = image()
    machine = with_disk(ram, disk)
    disk.slow = True
    for program in machine.programs:
        program.start("sda")
    machine.bench.settle()
    for program in machine.programs:
        with pytest.raises(OperatorError, match="stop it or wait for its end"):
            program.start("sda")
    disk.work()
    machine.bench.settle()
    assert machine.programs[1].digest == sha256(disk.data).hexdigest()


def test_a_start_that_is_refused_is_an_end_after_which_it_can_be_started(ram: GuestRam) -> None:
    disk = image()
    machine = with_disk(ram, disk)
    for program in machine.programs:
        with pytest.raises(OperatorError, match="there is no disk sdx"):
            program.start("sdx")
    machine.bench.settle()
    assert machine.programs[0].finished and machine.programs[0].error
    assert run(machine).digest == sha256(disk.data).hexdigest()


def test_a_program_that_is_stopped_says_so_and_gives_back_its_pages(ram: GuestRam) -> None:
    disk = image()
    machine = with_disk(ram, disk)
    free = machine.bench.cores[0].pages.free_pages()
    disk.slow = True
    for program in machine.programs:
        program.start("sda")
    machine.bench.settle()
    machine.programs[1].stop()
    machine.bench.settle()
    assert not machine.programs[0].finished, "a request is under way"
    disk.work()
    machine.bench.settle()
    assert (machine.programs[0].finished, machine.programs[0].error) == (True, "it was stopped before its end")
    assert machine.bench.cores[0].pages.free_pages() == free


def test_pages_of_requests_that_were_lost_with_their_controller_are_not_used_again(ram: GuestRam) -> None:
    """The host may still fill them; nothing that Linux has says when it no longer does."""
    disk = image()
    machine = with_disk(ram, disk)
    free = machine.bench.cores[0].pages.free_pages()
    disk.slow = True
    for program in machine.programs:
        program.start("sda")
    machine.bench.settle()
    under_way = free - machine.bench.cores[0].pages.free_pages()
    (line,) = machine.bench.lines.values()
    line.views[0].words.rescind = 1
    machine.driver().rescinded(line.views[0])
    machine.bench.settle()
    assert machine.programs[0].finished and "NO_CONNECT" in machine.programs[0].error
    assert free - machine.bench.cores[0].pages.free_pages() == under_way > 0
