"""The workload of ``run`` and ``sim``: read the whole disk, write a pattern if it may be written, watch, and judge."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guest.block.disk import LIVE, DiskWords
from guest.programs.checksum import ChecksumWords
from guest.programs.pattern import PatternCpuWords, PatternWords, pattern
from guest.programs.program import ProgramWords
from lab.api import Vm
from lab.failure import VmFailure
from lab.report import Check
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode

DISK = "sda"
PATTERN_BYTES = 1 << 20
"""How much of a writable disk is overwritten: its last MiB, or its last quarter if that is less."""

Progress = Callable[[str, int, int], None]
"""Told (what, done, of) now and then."""


@dataclass(frozen=True, slots=True)
class PatternRange:
    """Where the pattern goes."""

    offset: int
    length: int

    @classmethod
    def of(cls, size: int) -> PatternRange:
        length = min(PATTERN_BYTES, size // 4 // 4096 * 4096 or 512)
        return cls((size - length) // 512 * 512, length)


async def finished(vm: Vm, words: ProgramWords, what: str, done: Callable[[], int], progress: Progress) -> None:
    """Wait for a program to end, with an eye on channels that lost an interrupt. Raises ``VmFailure``."""
    while not words.finished:
        await vm.pass_time(LOOK_SECONDS)
        progress(what, done(), words.total)
        vm.watchdog.check(vm.now())
    if words.failed:
        raise VmFailure(ExitCode.DEVICE, f"{what}: {words.error}")


def has_disk(vm: Vm) -> bool:
    """Somebody drives the disk. A driver from outside the tree may have the controller and make no disk of it."""
    return any(disk.state == LIVE for disk in vm.memory.find(DiskWords))


async def read_disk(vm: Vm, progress: Progress) -> str:
    """SHA-256 of what the guest's driver read from the whole disk."""
    words = vm.memory.find(ChecksumWords)[0]
    await vm.start_program("checksum", disk_name=DISK)
    await finished(vm, words, f"reading {DISK}", lambda: words.done, progress)
    return words.sha256.hex()


async def write_pattern(vm: Vm, place: PatternRange, progress: Progress) -> None:
    """Write the pattern of the VM's seed from every CPU, flush, and have the guest compare what it reads back."""
    words = vm.memory.find(PatternWords)[0]
    cpus = vm.memory.find(PatternCpuWords)
    await vm.start_program("pattern", disk_name=DISK, seed=vm.spec.seed, offset=place.offset, length=place.length)
    await finished(vm, words, f"writing {DISK}", lambda: sum(cpu.compared for cpu in cpus), progress)


@dataclass(frozen=True, slots=True)
class ImageDigests:
    """What an image file holds, computed on this side: all of it, the part with the pattern, and the rest."""

    whole: str
    inside: str
    outside: str

    @classmethod
    async def of(cls, path: str | Path, place: PatternRange) -> ImageDigests:
        """Reads all of the file; Ctrl-C is heard meanwhile."""
        whole, inside, outside = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        at = 0
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                whole.update(chunk)
                start = min(max(place.offset - at, 0), len(chunk))
                end = min(max(place.offset + place.length - at, start), len(chunk))
                outside.update(chunk[:start])
                inside.update(chunk[start:end])
                outside.update(chunk[end:])
                at += len(chunk)
                await asyncio.sleep(0)
        return cls(whole.hexdigest(), inside.hexdigest(), outside.hexdigest())


def read_check(guest_digest: str, before: ImageDigests) -> Check:
    """What the guest's driver read is what the file held."""
    return Check("SHA-256 of the disk", "guest read", guest_digest, "image file", before.whole, "L6", highlight=True)


def write_checks(before: ImageDigests, after: ImageDigests, place: PatternRange, seed: int) -> list[Check]:
    """The pattern is in the file, and only there."""
    expected = hashlib.sha256(pattern(seed, place.offset, place.length)).hexdigest()
    return [
        Check("pattern in the image", "seed gives", expected, "image file", after.inside, "L6", highlight=True),
        Check("image outside the pattern", "before", before.outside, "after", after.outside, "L6", highlight=True),
    ]
