"""What the load on disks says that it has written or read, against the image files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from guest.kernel.memory import KernelMemory
from guest.programs.load_content import LoadDiskWords, digest
from guest.programs.storage_load import StorageLoadWords
from lab.report import Check


def load_checks(memory: KernelMemory, images: Mapping[str, Path]) -> list[Check]:
    """One check for each disk under load, after the load has ended. ``images`` by the identity that the load gives it.

    Each place must hold what was written there last (or, if that was interrupted, before), or read there first.
    """
    words = memory.find(StorageLoadWords)[0]
    return [
        _check(layout, words.seed, images[layout.identity])
        for layout in list(memory.find(LoadDiskWords))[: words.disks]
    ]


def _check(layout: LoadDiskWords, seed: int, image: Path) -> Check:
    known = [index for index in range(layout.extents) if layout.known[index]]
    with image.open("rb") as file:
        right = sum(_right(layout, seed, index, _read(file.fileno(), layout, index)) for index in known)
    of = f"load on {layout.identity}"
    return Check(of, "places known", len(known), "right in the image", right, "L6", highlight=True)


def _read(file: int, layout: LoadDiskWords, index: int) -> bytes:
    return os.pread(file, layout.length, index * layout.stride)


def _right(layout: LoadDiskWords, seed: int, index: int, found: bytes) -> bool:
    if layout.writes:
        return layout.wrong_byte(found, layout.expected(seed, index)) is None
    return digest(found) == layout.known[index]
