"""The disk images of a run."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from host.machine import DeviceSpec
from lab.spec import DiskSpec, VmSpec
from protocol.errors import OperatorError

CONTROLLER = "storvsc"


@contextmanager
def disk_for(spec: VmSpec, image_bytes: int) -> Iterator[VmSpec]:
    """The VM with a disk on each of its SCSI controllers: those that it names, or images made for this run alone.

    They may be written, and nothing is left of them, however we end. Raises OperatorError for one that is not there.
    """
    for disk in spec.disks:
        if not Path(disk.path).is_file():
            raise OperatorError(f"there is no disk image at {disk.path}: give --disk a raw image file")
    with ExitStack() as images:

        def image(number: int) -> str:
            file = images.enter_context(tempfile.TemporaryFile())
            file.write(hashlib.shake_128((spec.seed + number).to_bytes(8, "little")).digest(image_bytes))
            file.flush()
            return f"/proc/{os.getpid()}/fd/{file.fileno()}"

        controllers = [place for place, device in enumerate(spec.devices) if device.kind == CONTROLLER]
        devices, disks = list(spec.devices), spec.disks
        for number, place in enumerate(controllers[1:], 1):
            if "disks" not in devices[place].options:
                devices[place] = _with_disk(devices[place], image(number))
        if controllers and not disks:
            named = devices[controllers[0]].options.get("disks")
            disks = [DiskSpec(image(0), writable=True)] if named is None else [DiskSpec(**disk) for disk in named]
        yield replace(spec, disks=disks, devices=devices)


def _with_disk(device: DeviceSpec, path: str) -> DeviceSpec:
    return replace(device, options={**device.options, "disks": [{"path": path, "writable": True}]})
