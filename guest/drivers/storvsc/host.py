"""The SCSI host of a controller on the connect CPU: the disks that are found on it, and that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from guest.block.disk import Disk, Disks
from guest.drivers.scsi import command
from guest.drivers.scsi.command import ScsiAddress
from guest.drivers.scsi.result import HostByte
from guest.drivers.scsi.scan import TYPE_DISK, Scanner, Unit
from guest.drivers.scsi.sd import Sd
from guest.drivers.storvsc.controller import Controller
from guest.kernel.core import Core
from guest.kernel.pages import OutOfPages
from guest.vmbus.workqueue import WorkQueue

CHANNELS: Final = 8
TARGETS: Final = 2
MAX_LUN: Final = 255
"""``STORVSC_MAX_CHANNELS``, ``STORVSC_MAX_TARGETS``, ``STORVSC_MAX_LUNS_PER_TARGET`` of a SCSI controller."""


class ScsiHost:
    """``struct Scsi_Host`` with storvsc's ``handle_error_wq``."""

    def __init__(self, core: Core, controller: Controller, disks: Disks, sd: Sd) -> None:
        self._core = core
        self._controller = controller
        self._disks = disks
        self._sd = sd
        self._work = WorkQueue(core, f"storvsc_error_wq_{controller.host_no}")
        self._printk = controller.channel.bus.printk

    def queue_scan(self) -> None:
        """The host says that units have come or gone, or one was found missing."""
        self._work.queue(self._host_scan)

    async def scan(self) -> None:
        """``scsi_scan_host``, the first."""
        self._work.queue(self._scan)
        await self._work.flush()

    async def finish(self) -> None:
        """``destroy_workqueue``, when no command is carried out any more: what is queued ends soon."""
        await self._work.flush()

    def remove_disks(self) -> None:
        """``scsi_remove_host``: requests for its disks fail from now on."""
        for disk in list(self._mine()):
            self._disks.remove(disk)

    def _mine(self) -> Iterator[Disk]:
        return (disk for disk in self._disks if disk.words.relid == self._controller.channel.relid)

    async def _host_scan(self) -> None:
        """``storvsc_host_scan``: a command to each disk, and those that have no unit any more go; then look for others.

        The host does not say which units have come or gone.
        """
        controller = self._controller
        controller.words.scan_wanted = 0
        for disk in list(self._mine()):
            ready = await controller.execute(_where(disk), command.test_unit_ready(), bool(disk.words.tagged_supported))
            if ready.host is HostByte.NO_CONNECT and controller.alive and disk.live:
                self._disks.remove(disk)
                self._printk(f"sd {disk.address}: [{disk.name}] removed")
        await self._scan()

    async def _scan(self) -> None:
        """Units that are not known yet become disks."""
        if not self._controller.alive:
            return
        try:
            buffer = self._core.pages.allocate()
        except OutOfPages as error:
            self._printk(f"scsi host{self._controller.host_no}: not scanned: {error}")
            return
        known = {_where(disk) for disk in self._mine()}
        scanner = Scanner(self._controller.execute, buffer, self._core.ram.page(buffer), known)
        with self._controller.timing_out():
            for unit in await scanner.scan_host(CHANNELS, TARGETS, MAX_LUN):
                await self._attach(scanner, unit)
        self._core.pages.free(buffer)

    async def _attach(self, scanner: Scanner, unit: Unit) -> None:
        """Make a disk of a unit, if it is one."""
        controller = self._controller
        disk = self._disks.allocate() if unit.device_type == TYPE_DISK else None
        if disk is None:
            return
        words = disk.words
        words.host_no, words.relid = controller.host_no, controller.channel.relid
        words.controller = controller.channel.device.name
        found = await self._sd.probe(disk, unit, scanner, controller.words.max_transfer)
        if not found or not controller.alive:
            self._disks.remove(disk)
            return
        self._disks.add(disk)
        self._printk(f"sd {disk.address}: [{disk.name}] {words.blocks} {words.block_size}-byte logical blocks")


def _where(disk: Disk) -> ScsiAddress:
    return ScsiAddress(disk.words.channel, disk.words.target, disk.words.lun)
