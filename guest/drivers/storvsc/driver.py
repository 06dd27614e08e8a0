"""storvsc as the bus sees it: probe, remove, callback; and how a command from any CPU finds its controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from guest.block.disk import GONE, LIVE, Disk, Disks, DiskWords
from guest.block.queue import DEFAULT_DEPTH, RequestQueue
from guest.drivers.scsi.command import ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import ScsiResult
from guest.drivers.scsi.scan import TYPE_DISK, Scanner, Unit
from guest.drivers.scsi.sd import Sd
from guest.drivers.storvsc.controller import Controller
from guest.drivers.storvsc.handshake import channel_init
from guest.kernel.core import Core
from guest.kernel.memory import Struct, Word
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import CallbackMode
from protocol.ids import Relid
from protocol.wire.guids import HV_SCSI_GUID

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

RING_SIZE: Final = 128 * 1024
"""``storvsc_ringbuffer_size``, each way, control page included."""
CHANNELS: Final = 8
TARGETS: Final = 2
MAX_LUN: Final = 255
"""``STORVSC_MAX_CHANNELS``, ``STORVSC_MAX_TARGETS``, ``STORVSC_MAX_LUNS_PER_TARGET`` of a SCSI controller."""


class ScsiHostWords(Struct):
    """``host_index_ida``."""

    taken = Word("connect CPU")
    """Bit n set: SCSI host n exists."""


class Storvsc(HvDriver):
    """``storvsc_drv``. ``queue`` and ``disks`` are what programs use.

    Simplified: SCSI controllers only; units do not come and go at run time; one channel to a controller. A host that
    announces sub-channels is not asked for them: ``_controller`` is where a request would choose among channels
    (``storvsc_do_io``), and ``probe`` where they would be created (``handle_multichannel_storage``).
    """

    name = "hv_storvsc"
    id_table = (HV_SCSI_GUID,)

    queue_depth: ClassVar[int] = DEFAULT_DEPTH
    """Requests that each CPU may have under way, for all controllers together; at most 64."""

    def __init__(self, core: Core, bus: Vmbus) -> None:
        super().__init__(core, bus)
        self.queue = RequestQueue(core, self.queue_depth)
        self._sd = Sd(core, self._execute)
        self.disks = Disks(core, self._sd)
        self._hosts = core.memory.one(ScsiHostWords)
        self._controllers: dict[Relid, Controller] = {}
        self._synchronize = core.call_on_all(lambda _: None)
        self._answered = core.calls.register(lambda _: core.wake_parked())

    async def probe(self, device: VmbusDevice) -> None:
        """``storvsc_probe``: number the host, open the channel, shake hands, look for disks. Raises VmbusError."""
        channel = device.channel
        controller = self._controller(channel)
        words = controller.words
        words.host_no = self._new_host()
        channel.set_read_mode(CallbackMode.BATCHED)
        channel.irq_name = f"pri@storvsc{words.host_no}"  # patch 5 of the RFC
        try:
            await channel.open(RING_SIZE, RING_SIZE)
            agreed = await channel_init(controller.exchange)
            words.version = agreed.version
            words.max_transfer = agreed.max_transfer
            words.sub_channels_allowed = agreed.sub_channels
            await self._scan(controller)
        except VmbusError:
            await self.remove(device)
            raise

    async def remove(self, device: VmbusDevice) -> None:
        """``storvsc_remove``: no new requests, wait for those under way, close."""
        controller = self._controller(device.channel)
        for disk in self.disks:
            if disk.words.relid == device.channel.relid:
                disk.words.state = GONE
        # A request that any CPU began before it could see that is in the table once every CPU has been interrupted.
        await self._synchronize(0)
        await controller.drain()
        await device.channel.close()
        self._hosts.taken &= ~(1 << controller.words.host_no)

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """``storvsc_on_channel_callback``."""
        self._controller(channel).on_channel_callback()

    def _controller(self, channel: VmbusChannel) -> Controller:
        """This CPU's view of the controller behind a channel; a relid may be given to another channel later."""
        known = self._controllers.get(channel.relid)
        if known is None or known.channel is not channel:
            known = self._controllers[channel.relid] = Controller(self.core, self.queue, channel, self._answered)
        return known

    async def _execute(self, disk: Disk, command: ScsiCommand) -> ScsiResult:
        words = disk.words
        controller = self._controller(self.bus.channels[Relid(words.relid)])
        address = ScsiAddress(words.channel, words.target, words.lun)
        return await controller.execute(address, command, bool(words.tagged_supported), lambda: words.state == LIVE)

    def _new_host(self) -> int:
        """``ida_alloc``: the lowest number that is free."""
        taken = self._hosts.taken
        number = (~taken & taken + 1).bit_length() - 1
        self._hosts.taken = taken | 1 << number
        return number

    async def _scan(self, controller: Controller) -> None:
        """``scsi_scan_host``; the disks are there for every CPU when their state is LIVE."""
        core = self.core
        buffer = core.pages.allocate()
        controller.start_timer()
        try:
            scanner = Scanner(controller.execute, buffer, core.ram.page(buffer))
            for unit in await scanner.scan_host(CHANNELS, TARGETS, MAX_LUN):
                await self._attach(controller, scanner, unit)
        finally:
            controller.stop_timer()
            core.pages.free(buffer)

    async def _attach(self, controller: Controller, scanner: Scanner, unit: Unit) -> None:
        """Make a disk of a unit, if it is one."""
        disk = self.disks.unused()
        if unit.device_type != TYPE_DISK or disk is None:
            return
        words = disk.words
        words.host_no, words.relid = controller.words.host_no, controller.channel.relid
        if await self._sd.probe(disk, unit, scanner, controller.words.max_transfer):
            words.state = LIVE
            blocks = f"{words.blocks} {words.block_size}-byte logical blocks"
            self.bus.printk(f"sd {_address(words)}: [{disk.name}] {blocks}")


def _address(words: DiskWords) -> str:
    """As the kernel prints it: host, channel, target, LUN."""
    return f"{words.host_no}:{words.channel}:{words.target}:{words.lun}"
