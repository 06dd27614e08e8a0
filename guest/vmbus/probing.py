"""When devices meet drivers (drivers/base/dd.c): asynchronously, and not before the drivers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guest.vmbus.device import HvDriver, VmbusDevice, bind

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


class Probing:
    """The connect CPU's. Every driver of the bus asks for asynchronous probes (``PROBE_PREFER_ASYNCHRONOUS``), so each
    probe is a task of its own, and a device that does not answer holds nobody up.

    Drivers are modules, loaded once the host's first offers have all become devices. In which order asynchronous
    probes start, Linux leaves to its work queues; here those of devices that waited for a driver start newest first.
    """

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        self._waiting: list[VmbusDevice] = []
        self._loaded = False
        self.under_way = 0
        """Probes that have not ended."""

    def attach(self, device: VmbusDevice) -> None:
        """``device_initial_probe``: offer the device to the first driver that knows its class."""
        if self._loaded:
            self._probe(device)
        else:
            self._waiting.append(device)

    async def load(self) -> None:
        """The host has delivered its offers; the drivers are loaded when they have become devices."""
        await self._bus.primary_queue.flush()
        self._loaded = True
        waiting, self._waiting = self._waiting, []
        for device in reversed(waiting):
            self._probe(device)

    def _probe(self, device: VmbusDevice) -> None:
        for driver in self._bus.drivers:
            if device.class_id in driver.id_table:
                self.under_way += 1
                self._bus.core.sched.spawn(self._bind(driver, device), f"probe of {device.name}")
                return

    async def _bind(self, driver: HvDriver, device: VmbusDevice) -> None:
        try:
            await bind(self._bus, driver, device)
        finally:
            self.under_way -= 1
