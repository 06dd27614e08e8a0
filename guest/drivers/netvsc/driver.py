"""netvsc as the bus and the network layer see it (netvsc_drv.c): probe, remove, sub-channels, open, stop, transmit."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from guest.drivers.netvsc.channel import NetvscChannel
from guest.drivers.netvsc.nic import Nic
from guest.drivers.netvsc.nics import Nics
from guest.drivers.netvsc.rndis_filter import OPEN_FILTER, rndis_filter_device_add, set_packet_filter
from guest.drivers.netvsc.subchannels import rndis_set_subchannel
from guest.drivers.netvsc.vsp import netvsc_connect_vsp, revoke, teardown_recv_gpadl, teardown_send_gpadl
from guest.drivers.netvsc.words import SLOTS, NetvscChannelWords
from guest.kernel.core import Core
from guest.kernel.pages import OutOfPages
from guest.net.device import GONE, MAX_DEVICES, REGISTERED, NetDevice, NetDevices
from guest.net.frame import Frame
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import CallbackMode
from protocol.ids import PAGE_SIZE, Pfn, Relid
from protocol.wire.guids import HV_NIC_GUID
from protocol.wire.ndis import PacketFilter
from protocol.wire.nvsp import RevokeReceiveBuffer, RevokeSendBuffer
from protocol.wire.versions import Version

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

DRAIN_LOOK: Final = 0.001
DRAIN_LOOKS: Final = 2000
"""``RETRY_US_LO`` and ``RETRY_MAX`` of ``netvsc_wait_until_empty``: two seconds."""


class Netvsc(HvDriver):
    """``netvsc_drv``. ``devices`` is what programs use.

    Simplified: no virtual function, no XDP, no change of MTU, ring or number of channels while the device is there
    (bind the driver anew for that); and every channel's NAPI is enabled before the channel is opened. Linux enables it
    afterwards, and an interrupt in between is lost, which nobody notices because hosts are silent until then.
    """

    name = "hv_netvsc"
    id_table = (HV_NIC_GUID,)

    max_channels: ClassVar[int] = 8
    """``VRSS_CHANNEL_DEFAULT``: channels of a NIC, if there are as many CPUs and the host has as many queues."""
    ring_pages: ClassVar[int] = 128
    """Each way, control page included (the module parameter ``ring_size``)."""
    recv_bytes: ClassVar[int] = 1 << 20
    send_bytes: ClassVar[int] = 170 * 6144
    """What ``ethtool -G`` sets. Linux has 16 MiB to receive, and to send as many sections as go into 1 MiB."""

    def __init__(self, core: Core, bus: Vmbus) -> None:
        super().__init__(core, bus)
        self.devices = NetDevices(core, self)
        self.nics = Nics(core, bus, self.devices)

    # --- the bus ----------------------------------------------------------------------------------------------------

    async def probe(self, device: VmbusDevice) -> None:
        """``netvsc_probe``: everything but the sub-channels, under rtnl. Raises VmbusError."""
        async with self.devices.rtnl:
            netdev = self.devices.unused()
            if netdev is None:
                raise VmbusError(errno.ENOSPC, f"netvsc: there are {MAX_DEVICES} devices already")
            nic = self.nics.new(netdev, device.channel)
            try:
                await self._attach(nic)
            except VmbusError:
                await self._detach(nic)
                netdev.words.relid = 0
                raise
            netdev.words.registrations += 1
            netdev.words.attached = nic.words.num_chn == 1
            netdev.words.state = REGISTERED
            if nic.words.num_chn > 1:
                nic.words.subchan_work = 1
                self.core.sched.spawn(self._subchan_work(nic), "netvsc_subchan_work")
        netdev.changed.wake_up()

    async def remove(self, device: VmbusDevice) -> None:
        """``netvsc_remove``."""
        nic = self.nics.of(device.channel)
        while nic.words.subchan_work:
            await self.core.sleep(DRAIN_LOOK)
        async with self.devices.rtnl:
            netdev = nic.device
            if netdev.words.running:
                await self.devices.close(netdev)
            await self._detach(nic)
            netdev.words.state = GONE
            netdev.words.relid = 0
        netdev.changed.wake_up()

    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        """``netvsc_sc_open``: whatever comes of it, one channel fewer is waited for."""
        nic = self.nics.of(channel.device.channel)
        queue = channel.offer.sub_channel_index
        if not nic.words.subchan_work or queue >= nic.words.num_chn:
            return
        try:
            await self._open_channel(nic, channel, queue)
        except VmbusError as error:
            nic.log(f"sub channel open failed: {error.strerror}")
        nic.words.open_chn += 1
        nic.exchange.wake()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """``netvsc_channel_cb``."""
        self.nics.channel(channel).channel_cb()

    # --- the network layer ------------------------------------------------------------------------------------------

    async def open(self, device: NetDevice) -> None:
        """``netvsc_open``: the host may send frames, and so may the guest."""
        nic = self.nics.of(self.bus.channels[Relid(device.words.relid)])
        await set_packet_filter(nic, OPEN_FILTER)
        for each in self.nics.channels_of(nic):
            each.sends.enable(device.words.epoch)

    async def stop(self, device: NetDevice) -> None:
        """``netvsc_close``: the guest sends nothing more, then the host; then what is under way comes to its end."""
        nic = self.nics.of(self.bus.channels[Relid(device.words.relid)])
        for each in self.nics.channels_of(nic):
            each.sends.disable()
        if not nic.channel.words.rescind:
            try:
                await set_packet_filter(nic, PacketFilter(0))
            except VmbusError as error:
                nic.log(f"unable to close device: {error.strerror}")
        await self._wait_until(nic, lambda queue: not queue.busy and not queue.unread)

    def start_xmit(self, device: NetDevice, queue: int, frame: Frame, epoch: int) -> bool:
        """``netvsc_start_xmit``. A queue whose channel is gone takes the frame and drops it."""
        channel = self.bus.channels.get(self.nics.queues[device.index][queue].relid)
        if channel is None:
            frame.free(self.core.pages)
            return True
        return self.nics.channel(channel).sends.start_xmit(frame, epoch)

    # --- from nothing to a device, and back -------------------------------------------------------------------------

    async def _attach(self, nic: Nic) -> None:
        """``rndis_filter_device_add``: open the channel, come to terms, ask. Raises VmbusError."""
        words = nic.words
        try:
            words.request_pfn = self.core.pages.allocate()
        except OutOfPages as error:
            raise VmbusError(errno.ENOMEM, str(error)) from None
        await self._open_channel(nic, nic.channel, 0)
        words.open_chn = 1
        await netvsc_connect_vsp(nic, self.recv_bytes, self.send_bytes)
        queues = await rndis_filter_device_add(nic)
        words.num_chn = max(1, min(queues, self.max_channels, self.devices.max_queues))
        self._share_sections(nic, 0)
        nic.channel.set_sc_creation_callback()
        nic.device.words.queues = 1

    async def _detach(self, nic: Nic) -> None:
        """``rndis_filter_device_remove`` and ``netvsc_device_remove``, after which nothing of it touches any memory.

        Hosts up to Windows 8.1 want the buffers back before the channel is closed, later ones after it.
        """
        early = self.bus.tables.connection.version < Version.WIN10
        words, opened = nic.words, nic.channel.mapped
        if opened and not nic.channel.words.rescind and words.recv_section_size:
            try:
                nic.exchange.halt()
            except VmbusError as error:
                nic.log(f"cannot send HALT: {error.strerror}")
            await self._wait_until(nic, lambda queue: not queue.busy)
        if words.recv_section_size:
            revoke(nic, RevokeReceiveBuffer())
        if early:
            await teardown_recv_gpadl(nic)
        if words.send_section_size:
            revoke(nic, RevokeSendBuffer())
        if early:
            await teardown_send_gpadl(nic)
        channels = self.nics.channels_of(nic)
        for each in channels:
            await each.napi.disable()
        await nic.channel.close()
        if not early:
            await teardown_recv_gpadl(nic)
            await teardown_send_gpadl(nic)
        for each in channels:
            each.sends.abandon()
            each.words.relid = 0
        if words.request_pfn:
            self.core.pages.free(Pfn(words.request_pfn))

    async def _open_channel(self, nic: Nic, channel: VmbusChannel, queue: int) -> None:
        """Make a queue of a channel. Raises VmbusError."""
        words = nic.queues[queue]
        words.clear()
        mine = channel.state(NetvscChannelWords)
        mine.queue, mine.nic = queue, nic.device.index + 1
        words.relid = channel.relid
        self._share_sections(nic, queue)
        channel.set_read_mode(CallbackMode.ISR)
        each = self.nics.channel(channel)
        each.napi.enable()
        try:
            await channel.open(self.ring_pages * PAGE_SIZE, self.ring_pages * PAGE_SIZE)
        except VmbusError:
            if words.relid == channel.relid:  # else it took so long that the queue is another channel's
                await each.napi.disable()
                words.relid = 0
            raise

    def _share_sections(self, nic: Nic, queue: int) -> None:
        """Each queue has its own part of the send buffer, where Linux has one bitmap for all."""
        words, channels = nic.queues[queue], max(nic.words.num_chn, 1)
        words.sections = min(nic.words.send_sections // channels, SLOTS)
        words.first_section = queue * words.sections

    async def _subchan_work(self, nic: Nic) -> None:
        """``netvsc_subchan_work``: without sub-channels the NIC works too."""
        words = nic.words
        async with self.devices.rtnl:
            try:
                await rndis_set_subchannel(nic)
            except VmbusError as error:
                nic.log(f"sub-channels: {error.strerror}")
            else:
                nic.device.words.queues = words.num_chn
            nic.device.words.attached = 1
        words.subchan_work = 0
        nic.device.changed.wake_up()

    async def _wait_until(self, nic: Nic, drained: Callable[[NetvscChannel], bool]) -> None:
        """``netvsc_wait_until_empty``, and ``wait_drain`` of ``rndis_filter_halt_device``: until all queues are.

        Once the NIC is rescinded nothing comes any more, not on its sub-channels either, whose rescinds wait behind
        this one. Linux 6.1 waits even so: two seconds at first, and in the second place without end.
        """
        for _ in range(DRAIN_LOOKS):
            if nic.channel.words.rescind or all(map(drained, self.nics.channels_of(nic))):
                return
            await self.core.sleep(DRAIN_LOOK)
        nic.log("Ring buffer not empty after closing rndis")
