"""A driver of the bus: the devices that it is bound to, ``bind`` and ``unbind`` (drivers/base/bus.c)."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from guest.fs.node import File, Link, Node, unreadable
from guest.vmbus.device import VmbusDevice, bind, unbind
from guest.vmbus.errors import VmbusError
from guest.vmbus.sysfs.device import DEVICES
from guest.vmbus.sysfs.view import VmbusView
from guest.vmbus.words import VMBUS_CONNECT_CPU
from protocol.errors import OperatorError

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


def driver_directory(view: VmbusView, name: str, bus: Vmbus | None) -> dict[str, Node]:
    """Dynamic ids (``new_id``) are not modelled."""
    bound = (primary for primary in view.primaries() if view.driver_name(primary) == name)
    nodes: dict[str, Node] = {
        str(primary.offer.instance_id): Link(f"../../../../{DEVICES}/{primary.offer.instance_id}") for primary in bound
    }
    nodes["bind"] = File(0o200, unreadable, None if bus is None else partial(bind_store, bus, name))
    nodes["unbind"] = File(0o200, unreadable, None if bus is None else partial(unbind_store, bus, name))
    return nodes


async def bind_store(bus: Vmbus, driver: str, text: str) -> int:
    """``bind_store``: the byte count. Raises ENODEV (no such device, or not one for this driver), EBUSY (it has a
    driver), and what the probe failed with."""
    device = _device(bus, text)
    chosen = next(each for each in bus.drivers if each.name == driver)
    if device.class_id not in chosen.id_table:
        raise VmbusError(errno.ENODEV, f"{driver} is not for {device.name}")
    error = await bind(bus, chosen, device)
    if error:
        raise VmbusError(error, f"{driver} could not be bound to {device.name}")
    return len(text)


async def unbind_store(bus: Vmbus, driver: str, text: str) -> int:
    """``unbind_store``: the byte count. Raises ENODEV: no such device, or it is not bound to this driver."""
    device = _device(bus, text)
    bound = device.channel.driver
    if bound is None or bound.name != driver:
        raise VmbusError(errno.ENODEV, f"{device.name} is not bound to {driver}")
    await unbind(device)
    return len(text)


def _device(bus: Vmbus, text: str) -> VmbusDevice:
    """``bus_find_device_by_name``, where a newline at the end does not matter (``sysfs_streq``)."""
    if bus.core.cpu != VMBUS_CONNECT_CPU:
        raise OperatorError(f"drivers are bound and unbound on CPU {VMBUS_CONNECT_CPU}: have that CPU write")
    for channel in bus.channels.primaries():
        if channel.device.name == text.removesuffix("\n"):
            return channel.device
    raise VmbusError(errno.ENODEV, f"there is no device {text.strip()!r}")
