"""What the guest reads is what is in the image, byte for byte, and it came through the rings."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Queue

import pytest

from guest.programs.pattern import PatternWords
from host.process.disk import ImageFile
from lab.failure import VmFailure
from lab.memories import Memories
from lab.spec import DiskSpec, VmSpec
from lab.vm import VM
from lab.workload import PatternRange, read_disk, write_pattern
from protocol.errors import ExitCode, OperatorError
from tests.integration.conftest import Lab
from tests.integration.machine import DEADLINE, inject, make_image, nothing_left, open_files, reading, started, wait_for

STORVSC = 14


def silent(what: str, done: int, of: int) -> None:
    """Nobody watches the progress."""


@asynccontextmanager
async def vm_with(name: str, image: Path, writable: bool = False) -> AsyncIterator[VM]:
    spec = VmSpec(name, vcpus=2, disks=[DiskSpec(str(image), writable)], seed=7)
    async with asyncio.timeout(DEADLINE), VM(spec) as vm:
        await vm.settled()
        yield vm
    nothing_left()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    make_image(path, 2 << 20)
    return path


def test_run_prints_the_digest_that_sha256sum_has(lab: Lab, tmp_path: Path) -> None:
    content = make_image(tmp_path / "disk.img", (3 << 20) + 512)
    done = lab("run", "--vm", "small", "--disk", tmp_path / "disk.img", "--duration", "0.1").finished()
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[:8] == [f"CPU{cpu}" for cpu in range(8)]
    assert f"guest read {hashlib.sha256(content).hexdigest()}" in done.out


async def test_only_the_host_has_the_image_open(image: Path) -> None:
    async with vm_with("fds", image) as vm:
        having = {name for name, pid in vm.info.pids.items() if str(image) in open_files(pid)}
        assert having == {"host"}
        assert len(vm.info.pids) == 3
        assert str(image) not in open_files(vm.info.supervisor)
        assert await read_disk(vm, silent) == hashlib.sha256(image.read_bytes()).hexdigest()


async def test_a_byte_flipped_in_the_hosts_answer_changes_the_digest(image: Path) -> None:
    async with vm_with("flip", image) as vm:
        await vm.inject("host", "flip_byte", offset=1_234_567)
        flipped = bytearray(image.read_bytes())
        flipped[1_234_567] ^= 0xFF
        assert await read_disk(vm, silent) == hashlib.sha256(flipped).hexdigest()


def test_a_run_in_which_a_byte_was_flipped_fails(lab: Lab, tmp_path: Path) -> None:
    content = make_image(tmp_path / "disk.img", 2 << 20)
    report = tmp_path / "report.json"
    command = lab(
        *(
            "run",
            "--vm",
            "small",
            "--vcpus",
            "2",
            "--disk",
            tmp_path / "disk.img",
            "--duration",
            "0.1",
            "--name",
            "flipped",
        ),
        *("--json", report),
    )
    inject(started("flipped"), "host", "flip_byte", offset=len(content) - 1)
    done = command.finished()
    assert done.code == ExitCode.CHECK_FAILED
    assert "FAILED    SHA-256 of the disk" in done.out
    red = [check["name"] for check in json.loads(report.read_text())["checks"] if not check["holds"]]
    assert red == ["SHA-256 of the disk"]
    assert json.loads(report.read_text())["sha256"] != hashlib.sha256(content).hexdigest()


async def test_without_signals_the_read_never_ends_and_the_watchdog_names_the_channel(image: Path) -> None:
    async with vm_with("deaf", image) as vm:
        await vm.inject("host", "suppress_signals", relid=STORVSC)
        with pytest.raises(VmFailure, match=r"channel 14 \(pri@storvsc0\) is stranded: \d+ bytes wait") as failure:
            await read_disk(vm, silent)
        assert failure.value.code == ExitCode.STRANDED


def test_a_run_that_loses_its_interrupts_says_so_in_one_line(lab: Lab, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 32 << 20)
    command = lab("run", "--vm", "small", "--vcpus", "2", "--disk", tmp_path / "disk.img", "--name", "stranded")
    inject(started("stranded"), "host", "suppress_signals", relid=STORVSC)
    line = command.finished().complained(ExitCode.STRANDED)
    assert line.startswith("channel 14 (pri@storvsc0) is stranded")
    nothing_left()


async def test_what_the_guest_writes_is_in_the_file_and_nothing_else_is(image: Path) -> None:
    before = image.read_bytes()
    place = PatternRange.of(len(before))
    async with vm_with("rw", image, writable=True) as vm:
        await write_pattern(vm, place, silent)
    after = image.read_bytes()
    end = place.offset + place.length
    assert (after[: place.offset], after[end:]) == (before[: place.offset], before[end:])
    changed = sum(a != b for a, b in zip(before[place.offset : end], after[place.offset : end], strict=True))
    assert changed > place.length * 0.99  # random bytes over random bytes


def test_rw_reads_the_whole_disk_and_then_writes_its_end(lab: Lab, image: Path) -> None:
    before = image.read_bytes()
    done = lab("run", "--vm", "small", "--vcpus", "2", "--disk", f"{image},rw", "--duration", "0.1").finished()
    assert (done.code, done.err) == (0, "")
    assert f"guest read {hashlib.sha256(before).hexdigest()}" in done.out
    assert "verified  pattern in the image" in done.out
    assert "verified  image outside the pattern" in done.out
    assert image.read_bytes() != before


async def test_an_image_is_not_written_unless_rw_is_said(image: Path) -> None:
    before, stat = image.read_bytes(), image.stat()
    async with vm_with("ro", image) as vm:
        assert await read_disk(vm, silent) == hashlib.sha256(before).hexdigest()
        with pytest.raises(VmFailure, match="DATA_PROTECT") as failure:
            await write_pattern(vm, PatternRange.of(len(before)), silent)
        assert failure.value.code == ExitCode.DEVICE
    assert image.read_bytes() == before
    assert image.stat().st_mtime_ns == stat.st_mtime_ns


@pytest.mark.parametrize(("where", "red"), [("in", "pattern in the image"), ("before", "image outside the pattern")])
def test_a_run_whose_image_somebody_else_writes_fails(where: str, red: str, lab: Lab, tmp_path: Path) -> None:
    path, report = tmp_path / "disk.img", tmp_path / "report.json"
    place = PatternRange.of(len(make_image(path, 2 << 20)))
    command = lab(
        "run",
        "--vm",
        "small",
        "--vcpus",
        "2",
        "--disk",
        f"{path},rw",
        "--duration",
        "2",
        "--json",
        report,
        "--name",
        "busy",
    )
    memory = Memories(started("busy")).kernel
    wait_for("the pattern is written", lambda: memory.find(PatternWords)[0].finished)
    with path.open("r+b") as file:
        file.seek(place.offset - (where == "before"))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    assert command.finished().code == ExitCode.CHECK_FAILED
    assert [check["name"] for check in json.loads(report.read_text())["checks"] if not check["holds"]] == [red]


def test_an_image_that_shrinks_during_the_read_is_a_failing_device(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 128 << 20)  # long enough to be caught reading it
    command = lab("run", "--vm", "small", "--vcpus", "2", "--disk", path, "--name", "shrinks")
    reading(started("shrinks"))
    os.truncate(path, 64 << 20)
    line = command.finished().complained(ExitCode.DEVICE)
    assert "reading the disk: sda" in line
    nothing_left()


def test_an_image_of_broken_size_is_refused(lab: Lab, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img", 1000)
    line = (
        lab("run", "--vm", "small", "--disk", tmp_path / "disk.img", "--name", "odd")
        .finished()
        .complained(ExitCode.OPERATOR)
    )
    assert "has 1000 bytes: it must be a multiple of 512" in line
    nothing_left()


def test_an_image_that_does_not_exist_is_refused(lab: Lab, tmp_path: Path) -> None:
    line = (
        lab("run", "--vm", "small", "--disk", tmp_path / "none.img", "--name", "none")
        .finished()
        .complained(ExitCode.OPERATOR)
    )
    assert f"there is no disk image at {tmp_path / 'none.img'}" in line
    nothing_left()


def test_an_image_is_closed_when_its_disk_is_gone_and_its_last_request_has_ended(tmp_path: Path) -> None:
    path, moved = tmp_path / "disk.img", list[int | OSError]()
    posted: Queue[Callable[[], None]] = Queue()
    path.write_bytes(bytes(4096))
    image = ImageFile(str(path), False, posted.put)
    pool = image._pool
    image.read(0, [memoryview(bytearray(512))], moved.append)
    assert str(path) in open_files(os.getpid())
    del image
    posted.get(timeout=60)()
    assert moved == [512]
    pool.shutdown(wait=True)
    assert str(path) not in open_files(os.getpid())


def test_an_image_that_is_refused_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(100))
    with pytest.raises(OperatorError, match="has 100 bytes: it must be a multiple of 512"):
        ImageFile(str(path), False, lambda fn: None)
    assert str(path) not in open_files(os.getpid())
