"""Who is who: the words of all NICs and queues, and one CPU's views of those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest.drivers.netvsc.channel import NetvscChannel
from guest.drivers.netvsc.exchange import Exchange
from guest.drivers.netvsc.nic import Nic
from guest.drivers.netvsc.words import NetvscChannelWords, NetvscDeviceWords, NetvscQueueWords
from guest.kernel.core import Core
from guest.net.device import MAX_DEVICES, NetDevice, NetDevices
from guest.vmbus.channel import VmbusChannel
from protocol.ids import Relid

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

ETH_DATA_LEN: Final = 1500


class Nics:
    """Made once on every CPU, at the same place of start-up. ``queues``: by index of the net device, then by queue."""

    def __init__(self, core: Core, bus: Vmbus, devices: NetDevices) -> None:
        count = devices.max_queues
        self._core = core
        self._bus = bus
        self._devices = devices
        self._words = core.memory.table(NetvscDeviceWords, MAX_DEVICES)
        queues = list(core.memory.table(NetvscQueueWords, MAX_DEVICES * count))
        self.queues = [queues[index * count : (index + 1) * count] for index in range(MAX_DEVICES)]
        self._channels: dict[Relid, NetvscChannel] = {}

    def new(self, device: NetDevice, channel: VmbusChannel) -> Nic:
        """The primary channel gets its net device here, and that a clean slate."""
        words = device.words
        self._words[device.index].clear()
        words.queues = words.carrier = words.speed = 0
        words.alias, words.mtu = "", ETH_DATA_LEN
        words.relid = channel.relid
        channel.state(NetvscChannelWords).nic = device.index + 1
        return self.of(channel)

    def of(self, channel: VmbusChannel) -> Nic:
        """The NIC of a primary channel."""
        index = channel.state(NetvscChannelWords).nic - 1
        words = self._words[index]
        exchange = Exchange(self._core, channel, words)
        return Nic(self._core, self._devices[index], words, self.queues[index], channel, exchange)

    def channel(self, channel: VmbusChannel) -> NetvscChannel:
        """This CPU's view of a channel; a relid may be given to another channel, and a channel to another device."""
        known, mine = self._channels.get(channel.relid), channel.state(NetvscChannelWords)
        if known is None or known.channel is not channel or known.nic.device.index != mine.nic - 1:
            nic = self.of(channel.primary or channel)
            known = self._channels[channel.relid] = NetvscChannel(nic, channel, mine.queue)
        return known

    def channels_of(self, nic: Nic) -> list[NetvscChannel]:
        """Those of the queues that have a channel."""
        both = [self._bus.channels.get(queue.relid) for queue in nic.queues if queue.relid]
        return [self.channel(channel) for channel in both if channel is not None]
