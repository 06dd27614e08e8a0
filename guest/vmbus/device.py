"""Devices and drivers of the bus: match, probe, remove (drivers/hv/vmbus_drv.c, and what it needs of drivers/base)."""

from __future__ import annotations

import errno
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from guest.kernel.oops import MISTAKES, Oops, Severity
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import ChannelState
from protocol.ids import Cpu

if TYPE_CHECKING:
    from guest.kernel.core import Core
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channel import VmbusChannel


class VmbusDevice:
    """``struct hv_device``, one CPU's view: a primary channel and its identity. ``name`` is the directory in sysfs.

    ``lock`` is held while a driver is bound or unbound, so a rescind waits for a probe that is under way.
    """

    def __init__(self, channel: VmbusChannel) -> None:
        self.channel = channel
        self.class_id: UUID = channel.offer.class_id
        self.instance_id: UUID = channel.offer.instance_id
        self.name = str(self.instance_id)
        self.lock = channel.bus.core.mutex(channel.bus.tables.device_locks[channel.relid])


class HvDriver(ABC):
    """``struct hv_driver``: subclass it, name the classes of devices it drives, and register it with the system.

    It is constructed once on every CPU. ``probe``, ``remove`` and ``sc_creation_callback`` run on the connect CPU in
    process context; ``onchannel_callback`` runs in softirq or hard interrupt context (by the channel's read mode) on
    *any* CPU. So what a driver must remember lives in ``channel.state(...)``, and attributes are caches at most.
    """

    name: ClassVar[str]
    id_table: ClassVar[tuple[UUID, ...]] = ()
    _sealed: Oops | None = None

    def __init__(self, core: Core, bus: Vmbus) -> None:
        self.core = core
        self.bus = bus

    def seal(self, oops: Oops) -> None:
        """The driver is constructed. From now on one of a module's own attributes that changes is warned about."""
        if type(self).__module__ in oops.modules:
            self._sealed = oops

    def check_matched(self, offered: Iterable[UUID]) -> None:
        """All devices have been offered: a module that knows none of their classes has been loaded in vain."""
        if self._sealed is not None and not set(self.id_table).intersection(offered):
            code = type(self).probe.__code__
            self._sealed.warn(code, code.co_firstlineno, f"the VM has no device for the driver {self.name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if self._sealed is not None:
            what = f"{type(self).__name__}.{name} is set outside __init__: no other CPU sees it"
            caller = sys._getframe(1)
            self._sealed.warn(caller.f_code, caller.f_lineno, f"{what}; declare a Word and use channel.state()")
        super().__setattr__(name, value)

    @abstractmethod
    async def probe(self, device: VmbusDevice) -> None:
        """Take the device, as a rule by opening its channel. An ``OSError`` means that the driver does not."""

    @abstractmethod
    async def remove(self, device: VmbusDevice) -> None:
        """Let go of the device, as a rule by closing its channel."""

    @abstractmethod
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """The host signalled, or this side looks again: take what is in the ring. Spurious calls happen."""

    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        """The host offered a sub-channel, and the driver had asked to be told (``set_sc_creation_callback``)."""
        return

    def rescinded(self, channel: VmbusChannel) -> None:
        """The host has taken a primary or sub-channel back: no answer comes any more, and nobody hears what is sent.

        Called on the connect CPU, for a primary before it is unbound, which waits for a probe that is under way. A
        sub-channel stays until its primary is closed. (Linux tells only hv_sock, by ``chn_rescind_callback``.)
        """
        return

    def change_target_cpu(self, channel: VmbusChannel, old: Cpu, new: Cpu) -> None:
        """``change_target_cpu_callback``: the channel interrupts ``new`` now. Runs with interrupts off."""
        return


async def bind(bus: Vmbus, driver: HvDriver, device: VmbusDevice) -> int:
    """``driver_probe_device`` with ``vmbus_probe``: 0, or an errno. ENODEV: the device is gone; EBUSY: it has a driver;
    else what its probe failed with, and the log says so.
    """
    words = device.channel.words
    async with device.lock:
        if not device.channel.listed or words.rescind:
            return errno.ENODEV
        if words.driver:
            return errno.EBUSY
        words.driver = bus.drivers.index(driver) + 1
        try:
            await driver.probe(device)
            return 0
        except OSError as error:
            number = error.errno or errno.EIO
            if bus.core.oops.contain(error, "probe", Severity.WARNING):
                await _leave(device)
            words.driver = 0
        except MISTAKES as error:
            if not bus.core.oops.contain(error, "probe"):
                raise
            await _leave(device)
            number = errno.EFAULT
    bus.printk(f"hv_vmbus: probe failed for device {device.name} (-{number})")
    if number not in (errno.ENODEV, errno.ENXIO):
        bus.printk(f"{driver.name} {device.name}: probe with driver {driver.name} failed with error -{number}")
    return number


async def unbind(device: VmbusDevice) -> None:
    """``device_release_driver`` with ``vmbus_remove``; nothing if no driver is bound."""
    async with device.lock:
        driver = device.channel.driver
        if driver is not None:
            with device.channel.bus.core.oops.containing("remove"):
                await driver.remove(device)
            await _leave(device)


async def _leave(device: VmbusDevice) -> None:
    """The driver is gone. A channel that it has left open is closed for it; Linux would leave that, and its memory."""
    if device.channel.words.state == ChannelState.OPENED:
        with suppress(VmbusError):
            await device.channel.close()
    device.channel.words.driver = 0
