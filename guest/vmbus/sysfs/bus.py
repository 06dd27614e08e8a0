"""/sys/bus/vmbus, and where its devices really are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from guest.fs.node import Directory, Link, Node
from guest.vmbus.sysfs.device import DEVICES, device_directory
from guest.vmbus.sysfs.driver import driver_directory
from guest.vmbus.sysfs.view import VmbusView

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


def sys_bus_vmbus(view: VmbusView, bus: Vmbus | None = None) -> Directory:
    """Links to the devices by instance GUID, and the drivers. Without a ``bus``, nothing in it can be written."""

    def devices() -> dict[str, Node]:
        names = (str(primary.offer.instance_id) for primary in view.primaries())
        return {name: Link(f"../../../{DEVICES}/{name}") for name in names}

    def drivers() -> dict[str, Node]:
        names = [words.name for words in view.tables.drivers]
        return {name: Directory(partial(driver_directory, view, name, bus)) for name in names}

    return Directory.of({"devices": Directory(devices), "drivers": Directory(drivers)})


def vmbus_devices(view: VmbusView, bus: Vmbus | None = None) -> Directory:
    """The directory ``VMBUS:00`` of ACPI's tree."""

    def entries() -> dict[str, Node]:
        return {
            str(primary.offer.instance_id): Directory(partial(device_directory, view, primary, bus))
            for primary in view.primaries()
        }

    return Directory(entries)
