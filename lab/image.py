"""The disk images of a run."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from host.machine import DeviceSpec, instance_of
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
    image_bytes = spec.image_bytes or image_bytes
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
                devices[place] = _with_disks(devices[place], DiskSpec(image(number), writable=True))
        if controllers and not disks:
            named = devices[controllers[0]].options.get("disks")
            disks = [DiskSpec(image(0), writable=True)] if named is None else [DiskSpec(**disk) for disk in named]
        yield replace(spec, disks=disks, devices=devices, image_bytes=image_bytes)


def without_made_disks(spec: VmSpec) -> VmSpec:
    """The VM as it was before ``disk_for``, which gives it images of the same content again."""
    return replace(
        spec,
        disks=[disk for disk in spec.disks if not _made(disk.path)],
        devices=[_without_made_disks(device) for device in spec.devices],
    )


def _made(path: str) -> bool:
    """Images that are made for a run have no name of their own."""
    return path.startswith("/proc/")


def devices_of(spec: VmSpec) -> list[DeviceSpec]:
    """The devices; the disks that the VM was started with are on its first SCSI controller. Raises OperatorError."""
    devices = list(spec.devices)
    if spec.disks:
        first = next((place for place, device in enumerate(devices) if device.kind == CONTROLLER), None)
        if first is None:
            raise OperatorError("the VM has no SCSI controller for the disk: add a device of kind storvsc")
        devices[first] = _with_disks(devices[first], *spec.disks)
    return devices


def images_of(spec: VmSpec) -> dict[str, Path]:
    """The image of each disk, in order, by what the guest's programs call the disk: instance of the controller, LUN.

    (Names such as sda depend on which of several controllers is probed first.)
    """
    return {
        f"{instance_of(device.name)}/{lun}": Path(disk["path"])
        for device in devices_of(spec)
        if device.kind == CONTROLLER
        for lun, disk in enumerate(device.options.get("disks", ()))
    }


def _with_disks(device: DeviceSpec, *disks: DiskSpec) -> DeviceSpec:
    return replace(device, options={**device.options, "disks": [asdict(disk) for disk in disks]})


def _without_made_disks(device: DeviceSpec) -> DeviceSpec:
    if not any(_made(disk["path"]) for disk in device.options.get("disks", ())):
        return device
    return replace(device, options={key: value for key, value in device.options.items() if key != "disks"})
