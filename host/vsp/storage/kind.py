"""The synthetic SCSI controller as a kind of device, and what an operator can do to one of a running VM."""

from typing import Annotated, Final
from uuid import uuid5

from pydantic import Field
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.kind import Answered, Disk, Kind, Setting
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from protocol.errors import OperatorError

LUNS: Final = 64
"""As many disks as Hyper-V puts on one controller."""
MAX_SUB_CHANNELS: Final = 63
"""One for each CPU of the largest guest but one."""


@dataclass(frozen=True, slots=True, config=STRICT)
class StorvscOptions:
    """``disks`` are LUN 0, 1, ... of path 0 and target 0. ``sub_channels``: how many the guest may ask for."""

    disks: Annotated[tuple[Disk, ...], Field(max_length=LUNS)] = ()
    sub_channels: Annotated[int, Field(ge=0, le=MAX_SUB_CHANNELS)] = 0


class PluggableStorvsp(Storvsp):
    """A controller into which an operator plugs image files. A LUN has the same identity whatever disk is there."""

    def __init__(self, setting: Setting, options: StorvscOptions) -> None:
        self._setting = setting
        disks = {Address(0, 0, lun): self._open(lun, disk) for lun, disk in enumerate(options.disks)}
        super().__init__(
            setting.services, ScsiController(disks), setting.instance_id, setting.sub_channels, options.sub_channels
        )

    def attach(self, answered: Answered, lun: int, path: str, writable: bool = False) -> None:
        """Plug a disk in and have the guest look at the bus. Raises OperatorError: the LUN is taken, a bad image."""
        if not 0 <= lun < LUNS:
            raise OperatorError(f"choose a LUN from 0 to {LUNS - 1}, not {lun}")
        self.controller.attach(Address(0, 0, lun), lambda: self._open(lun, Disk(path, writable)))
        answered(None)

    def detach(self, answered: Answered, lun: int) -> None:
        """Pull a disk out and have the guest look at the bus. Raises OperatorError if there is none."""
        self.controller.detach(Address(0, 0, lun))
        answered(None)

    def _open(self, lun: int, disk: Disk) -> ScsiDisk:
        setting = self._setting
        return ScsiDisk(setting.open_disk(disk), uuid5(setting.instance_id, f"lun {lun}"), setting.complain)


STORVSC = Kind(StorvscOptions, PluggableStorvsp, {"attach": PluggableStorvsp.attach, "detach": PluggableStorvsp.detach})
