"""The program that writes a pattern from all CPUs and reads it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.drivers.storvsc.driver import Storvsc
from guest.kernel.core import Core
from guest.programs.pattern import Pattern, pattern
from host.vsp.storage.faults import FlippedByte
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from tests.guest_drivers.storage import BLOCK, FIRST, Machine, image
from tests.vsp.image import Image

EXTENT = 0x40000 // BLOCK
"""Blocks that one request moves at most."""
CPUS = 3


def free_pages(machine: Machine) -> int:
    return machine.bench.cores[0].pages.free_pages()


def patterns(core: Core, storvsc: Storvsc) -> Pattern:
    return Pattern(core, storvsc.disks)


def run_pattern(machine: Machine, seed: int, offset: int, length: int) -> Pattern:
    for program in machine.programs:
        program.start("sda", seed, offset, length)
    machine.bench.settle()
    program = machine.programs[0]
    assert isinstance(program, Pattern)
    assert program.finished
    return program


@pytest.mark.parametrize(("first", "blocks"), [(0, 1), (1, 9), (EXTENT - 3, 2 * EXTENT + 6), (5, 7 * EXTENT)], ids=str)
def test_the_pattern_fills_its_range_and_touches_nothing_else(ram: GuestRam, first: int, blocks: int) -> None:
    machine = Machine(ram, CPUS, patterns)
    disk = image(8 * EXTENT)
    before = bytes(disk.data)
    machine.attach({FIRST: disk}, target_cpu=1)
    free = free_pages(machine)
    offset, length = first * BLOCK, blocks * BLOCK
    program = run_pattern(machine, 42, offset, length)
    assert program.error is None
    assert disk.data[offset : offset + length] == pattern(42, offset, length)
    assert disk.data[:offset] == before[:offset]
    assert disk.data[offset + length :] == before[offset + length :]
    assert disk.flushes == 1
    assert sum(cpu.written for cpu in program.cpus) == sum(cpu.compared for cpu in program.cpus) == length
    assert free_pages(machine) == free


def test_the_flush_comes_after_every_write_and_before_every_read(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, patterns)
    disk = image(8 * EXTENT)
    log: list[str] = []

    class Watched(Image):
        def _start(self, run, done) -> None:  # type: ignore[no-untyped-def]
            log.append(run.__qualname__.split(".")[1])
            super()._start(run, done)

    machine.attach({FIRST: Watched(bytes(disk.data))})
    run_pattern(machine, 1, 0, 8 * EXTENT * BLOCK)
    assert log == ["write"] * 8 + ["flush"] + ["read"] * 8


def test_what_is_read_back_differently_is_reported_to_the_byte(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, patterns)
    at = 2 * EXTENT * BLOCK + 1000
    machine.attach({FIRST: FlippedByte(image(4 * EXTENT), at)})  # type: ignore[dict-item]
    program = run_pattern(machine, 3, BLOCK, 3 * EXTENT * BLOCK)
    written = pattern(3, at, 1)[0]
    assert program.error == (
        f"sda: byte {at} (LBA {at // BLOCK}) reads {written ^ 0xFF:#04x}, {written:#04x} was written"
    )


def test_a_write_error_ends_the_pattern(ram: GuestRam) -> None:
    machine = Machine(ram, CPUS, patterns)
    machine.attach({FIRST: image(4 * EXTENT, read_only=True)})
    free = free_pages(machine)
    program = run_pattern(machine, 3, 0, 4 * EXTENT * BLOCK)
    assert program.error is not None
    assert program.error.endswith("sense 7/27/00 (DATA_PROTECT)")
    assert free_pages(machine) == free


@pytest.mark.parametrize(("offset", "length"), [(1, 512), (0, 100), (0, 0), (512, 128 * 512), (-512, 512)])
def test_a_range_that_is_not_on_the_disk_is_the_operators_mistake(ram: GuestRam, offset: int, length: int) -> None:
    machine = Machine(ram, CPUS, patterns)
    machine.attach({FIRST: image(128)})
    with pytest.raises(OperatorError, match="choose a range of whole blocks of 512 bytes within the 65536 of sda"):
        machine.programs[0].start("sda", 0, offset, length)
    machine.bench.settle()


@given(st.integers(0, 1 << 40), st.integers(0, 20000), st.integers(0, 3), st.data())
def test_the_pattern_of_a_part_is_the_part_of_the_pattern(
    offset: int, length: int, seed: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, length))
    end = data.draw(st.integers(start, length))
    whole = pattern(seed, offset, length)
    assert len(whole) == length
    assert pattern(seed, offset + start, end - start) == whole[start:end]
