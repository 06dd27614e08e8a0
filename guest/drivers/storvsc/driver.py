"""storvsc as the bus sees it: probe, remove, callbacks; and how a command from any CPU finds its controller."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar, Final

from guest.block.disk import Disk, Disks
from guest.block.queue import DEFAULT_DEPTH, RequestQueue
from guest.drivers.scsi.command import ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import HostByte, ScsiResult
from guest.drivers.scsi.sd import Sd
from guest.drivers.storvsc.controller import Controller
from guest.drivers.storvsc.handshake import channel_init
from guest.drivers.storvsc.host import ScsiHost
from guest.drivers.storvsc.srb import LOST, result_of
from guest.drivers.storvsc.sub_channels import handle_multichannel_storage, handle_sc_creation
from guest.drivers.storvsc.words import MAX_HOSTS, ScsiHostWords, StorChannelWords, StorvscDevice
from guest.kernel.core import Core
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import VMBUS_CONNECT_CPU, CallbackMode
from protocol.ids import Cpu, Relid
from protocol.wire.guids import HV_SCSI_GUID

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

RING_SIZE: Final = 128 * 1024
"""``storvsc_ringbuffer_size``, each way, control page included."""


class Storvsc(HvDriver):
    """``storvsc_drv``. ``queue`` and ``disks`` are what programs use. Simplified: SCSI controllers only."""

    name = "hv_storvsc"
    id_table = (HV_SCSI_GUID,)

    queue_depth: ClassVar[int] = DEFAULT_DEPTH
    """Requests that each CPU may have under way, for all controllers together; at most 64."""

    def __init__(self, core: Core, bus: Vmbus) -> None:
        super().__init__(core, bus)
        self.queue = RequestQueue(core, self.queue_depth)
        self._sd = Sd(core, self._execute)
        self.disks = Disks(core, self._sd)
        self._taken = core.memory.one(ScsiHostWords)
        self._devices = core.memory.table(StorvscDevice, MAX_HOSTS)
        self._controllers: dict[Relid, Controller] = {}
        self._hosts: dict[int, ScsiHost] = {}
        """On the connect CPU, by SCSI host number."""
        self._synchronize = core.call_on_all(lambda _: None)
        self._answered = core.calls.register(lambda _: core.wake_parked())
        self._scan = core.calls.register(self._queue_scan)

    # --- process context on the connect CPU ---------------------------------------------------------------------------

    async def probe(self, device: VmbusDevice) -> None:
        """``storvsc_probe``: number the host, open the channel, shake hands, look for disks. Raises VmbusError."""
        channel = device.channel
        host_no = self._new_host(channel)
        channel.set_read_mode(CallbackMode.BATCHED)
        channel.irq_name = f"pri@storvsc{host_no}"  # patch 5 of the RFC
        controller = self._controller(channel)
        host = self._hosts[host_no] = ScsiHost(self.core, controller, self.disks, self._sd)
        try:
            await channel.open(RING_SIZE, RING_SIZE)
            agreed = await channel_init(controller.exchange)
            controller.words.version, controller.words.max_transfer = agreed.version, agreed.max_transfer
            controller.channels.add(channel)
            await handle_multichannel_storage(controller, agreed.sub_channels, self.core.cpus)
            await host.scan()
        except VmbusError:
            await self.remove(device)
            raise

    async def remove(self, device: VmbusDevice) -> None:
        """``storvsc_remove``: no new requests, wait for those under way, close the channels.

        Linux flushes what its disks have cached first (``sd_shutdown``), on a controller that is gone in vain.
        """
        controller = self._controller(device.channel)
        host = self._hosts.pop(controller.host_no)
        controller.words.destroy = 1
        host.remove_disks()
        # A request that any CPU began before it could see that is in the table once every CPU has been interrupted.
        await self._synchronize(0)
        with controller.timing_out():
            await controller.drain()
            await host.finish()
        await device.channel.close()
        controller.words.primary = 0
        self._taken.taken &= ~(1 << controller.host_no)

    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        """``handle_sc_creation``."""
        await handle_sc_creation(self._controller(channel), channel, RING_SIZE)

    def rescinded(self, channel: VmbusChannel) -> None:
        """Requests under way there end: on a sub-channel to be sent again on another, on the primary for good."""
        controller = self._controller(channel)
        if channel.primary is None:
            controller.lost()
        elif controller.alive:
            controller.sub_channel_lost(channel)

    def _new_host(self, channel: VmbusChannel) -> int:
        """``ida_alloc``: the lowest number that is free. Raises ENOMEM. Its words are those of a new device."""
        taken = self._taken.taken
        number = (~taken & taken + 1).bit_length() - 1
        if number >= MAX_HOSTS:
            raise VmbusError(errno.ENOMEM, f"storvsc: there are {MAX_HOSTS} SCSI hosts already")
        self._taken.taken = taken | 1 << number
        channel.state(StorChannelWords).host_no = number
        words = self._devices[number]
        words.version = words.max_transfer = words.num_sc = words.scan_wanted = words.destroy = 0
        words.alloced_cpus = 0
        for cpu in range(self.core.cpus):
            words.stor_chns[cpu] = 0
        words.primary = channel.relid
        return number

    def _queue_scan(self, host_no: int) -> None:
        """Interrupt context: somebody wants a scan (``Controller.want_scan``)."""
        host = self._hosts.get(host_no)
        if host is not None:
            host.queue_scan()

    # --- any CPU, any context -----------------------------------------------------------------------------------------

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """``storvsc_on_channel_callback``, of primary and sub-channels."""
        self._controller(channel).on_channel_callback(channel)

    def change_target_cpu(self, channel: VmbusChannel, old: Cpu, new: Cpu) -> None:
        """``storvsc_change_target_cpu``."""
        self._controller(channel).channels.moved(channel, old)

    def _controller(self, channel: VmbusChannel) -> Controller:
        """This CPU's view of the controller behind a channel; a relid may be given to another channel later."""
        primary = channel.primary or channel
        host_no = primary.state(StorChannelWords).host_no
        known = self._controllers.get(primary.relid)
        if known is None or known.channel is not primary or known.host_no != host_no:
            known = self._controllers[primary.relid] = Controller(
                self.bus, self.queue, primary, self._devices[host_no], self._answered, self._want_scan
            )
        return known

    def _want_scan(self, host_no: int) -> None:
        self.core.calls.call(Cpu(VMBUS_CONNECT_CPU), self._scan, host_no)

    async def _execute(self, disk: Disk, command: ScsiCommand) -> ScsiResult:
        """A unit that is found missing is looked for (``storvsc_handle_error``; Linux removes it without a look)."""
        words = disk.words
        channel = self.bus.channels.get(words.relid)
        if channel is None or not disk.live:
            return result_of(LOST, command)
        controller = self._controller(channel)
        address = ScsiAddress(words.channel, words.target, words.lun)
        result = await controller.execute(address, command, bool(words.tagged_supported), lambda: disk.live)
        if result.host is HostByte.NO_CONNECT and disk.live and controller.alive:
            controller.want_scan()
        return result
