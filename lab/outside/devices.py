"""Devices from outside the tree: found in their files, and checked before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

from host.catalogue import KINDS
from host.machine import DeviceSpec
from host.vsp.contained import ContainedDevice
from host.vsp.kind import Kind, NoOptions, Setting
from host.vsp.packet_device import PacketDevice
from lab.outside.source import check_class, check_name, classes, load, where
from protocol.errors import OperatorError


def load_devices(paths: Iterable[str], taken: Iterable[str]) -> dict[str, tuple[DeviceSpec, Kind[Any, Any]]]:
    """By name: the offer of each device in the files, in order, and its kind, which has the name too.

    ``taken`` are names that the VM gives to other devices. Raises OperatorError.
    """
    names = {**dict.fromkeys(KINDS, "a kind of the tree's"), **dict.fromkeys(taken, "a device of the VM")}
    found: dict[str, tuple[DeviceSpec, Kind[Any, Any]]] = {}
    for path in paths:
        for device in classes(load(path, "device"), PacketDevice):  # type: ignore[type-abstract]
            _check(device)
            at = where(device)
            if device.name in names:
                raise OperatorError(f"{at}: '{device.name}' is the name of {names[device.name]}: choose another")
            names[device.name] = f"the device at {at}"
            found[device.name] = DeviceSpec(device.name, device.name), Kind(NoOptions, partial(_make, device))
    return found


def _make(device: type[PacketDevice], setting: Setting, options: NoOptions) -> ContainedDevice:
    return ContainedDevice(device, device.__module__, setting)


def _check(device: type[PacketDevice]) -> None:
    check_class(device, (), ("open", "close", "doorbell", "receive", "opened", "closed", "counts"))
    check_name(device)
    if not isinstance(getattr(device, "class_id", None), UUID):
        at = f"{where(device)}: class {device.__name__}"
        raise OperatorError(f"{at} has no class_id: say class_id = UUID(...), by which drivers know it")
