"""The disk image of a run."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab.spec import DiskSpec, VmSpec
from protocol.errors import OperatorError


@contextmanager
def disk_for(spec: VmSpec, image_bytes: int) -> Iterator[VmSpec]:
    """The VM with a disk: the one that it has, or an image made for this run alone, which may be written."""
    if spec.disks:
        for disk in spec.disks:
            if not Path(disk.path).is_file():
                raise OperatorError(f"there is no disk image at {disk.path}: give --disk a raw image file")
        yield spec
        return
    with tempfile.TemporaryFile() as image:  # unnamed: nothing is left of it, however we end
        image.write(hashlib.shake_128(spec.seed.to_bytes(8, "little")).digest(image_bytes))
        image.flush()
        yield replace(spec, disks=[DiskSpec(f"/proc/{os.getpid()}/fd/{image.fileno()}", writable=True)])
