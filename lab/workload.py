"""The workload of ``run`` and ``sim``: read the whole disk, write a pattern if it may be written, watch, and judge."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guest.block.disk import LIVE, DiskWords
from guest.programs.checksum import ChecksumWords
from guest.programs.pattern import PatternCpuWords, PatternWords, pattern
from guest.programs.program import ProgramWords
from lab.api import Vm
from lab.failure import VmFailure
from lab.image import images_of
from lab.loads import NetworkLoad, loads_of
from lab.report import Check
from lab.spec import VmSpec
from lab.stalls import Awaited
from lab.watchdog import LOOK_SECONDS
from protocol.errors import ExitCode

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
        vm.watchdog.check(vm.now(), Awaited((what, done()), f"the next step of {what} after {done()} of {words.total}"))
    if words.failed:
        raise VmFailure(ExitCode.DEVICE, f"{what}: {words.error}")


def system_disk(spec: VmSpec) -> str | None:
    """What programs call the first disk of the first SCSI controller; None if the VM has none."""
    return next(iter(images_of(spec)), None) if spec.disks else None


def has_disk(vm: Vm) -> bool:
    """Somebody drives the disk. A driver from outside the tree may have the controller and make no disk of it."""
    return any(f"{disk.controller}/{disk.lun}" == system_disk(vm.spec) for disk in _live(vm))


def _live(vm: Vm) -> Iterator[DiskWords]:
    return (disk for disk in vm.memory.find(DiskWords) if disk.state == LIVE)


async def read_disk(vm: Vm, progress: Progress) -> str:
    """SHA-256 of what the guest's driver read from the whole disk."""
    words = vm.memory.find(ChecksumWords)[0]
    await vm.start_program("checksum", disk_name=system_disk(vm.spec))
    await finished(vm, words, "reading the disk", lambda: words.done, progress)
    return words.sha256.hex()


async def write_pattern(vm: Vm, place: PatternRange, progress: Progress) -> None:
    """Write the pattern of the VM's seed from every CPU, flush, and have the guest compare what it reads back."""
    words, disk = vm.memory.find(PatternWords)[0], system_disk(vm.spec)
    cpus = vm.memory.find(PatternCpuWords)
    await vm.start_program("pattern", disk_name=disk, seed=vm.spec.seed, offset=place.offset, length=place.length)
    await finished(vm, words, "writing the disk", lambda: sum(cpu.compared for cpu in cpus), progress)


async def exchange_frames(vm: Vm, frames: int, progress: Progress) -> list[Check]:
    """Have each CPU send so many frames on the queues of every NIC, and the host send them back: sent = returned."""
    loads = [load for load in loads_of(vm) if isinstance(load, NetworkLoad)]
    for load in loads:
        await load.start(frames)
    for load in loads:
        while not load.finished:
            await vm.pass_time(LOOK_SECONDS)
            progress("exchanging frames", load.done(), frames * vm.spec.vcpus)
            vm.watchdog.check(vm.now())
        await load.ended()
    return [Check(load.name, "sent", load.sent(), "returned intact", load.done(), highlight=True) for load in loads]


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


@dataclass(slots=True)
class DiskWork:
    """Read the system disk, write the pattern if it may be written, and compare with the image file."""

    vm: Vm
    writable: bool
    path: str
    place: PatternRange
    before: ImageDigests
    digest: str = ""

    @classmethod
    async def begin(cls, vm: Vm) -> DiskWork:
        """Look at the image before the guest does."""
        disk = vm.spec.disks[0]
        place = PatternRange.of(Path(disk.path).stat().st_size)
        return cls(vm, disk.writable, disk.path, place, await ImageDigests.of(disk.path, place))

    async def do(self, progress: Progress) -> None:
        """The guest's part."""
        self.digest = await read_disk(self.vm, progress)
        if self.writable:
            await write_pattern(self.vm, self.place, progress)

    async def checks(self) -> list[Check]:
        """What the guest said, and what the image file holds now."""
        found = [read_check(self.digest, self.before)]
        if self.writable:
            found += write_checks(
                self.before, await ImageDigests.of(self.path, self.place), self.place, self.vm.spec.seed
            )
        return found
