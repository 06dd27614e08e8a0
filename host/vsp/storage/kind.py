"""The synthetic SCSI controller as a kind of device."""

from uuid import uuid5

from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.kind import Disk, Kind, Setting
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp


@dataclass(frozen=True, slots=True, config=STRICT)
class StorvscOptions:
    """``disks`` are LUN 0, 1, ... of path 0 and target 0. ``sub_channels``: how many the guest may ask for."""

    disks: tuple[Disk, ...] = ()
    sub_channels: int = 0


def _make(setting: Setting, options: StorvscOptions) -> Storvsp:
    disks = {
        Address(0, 0, lun): ScsiDisk(
            setting.open_disk(disk), uuid5(setting.instance_id, f"lun {lun}"), setting.complain
        )
        for lun, disk in enumerate(options.disks)
    }
    return Storvsp(
        setting.services, ScsiController(disks), setting.instance_id, setting.sub_channels, options.sub_channels
    )


STORVSC = Kind(StorvscOptions, _make)
