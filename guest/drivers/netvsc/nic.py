"""One CPU's view of a NIC (``struct netvsc_device``): where everything of it is."""

from __future__ import annotations

from dataclasses import dataclass

from guest.drivers.netvsc.exchange import Exchange
from guest.drivers.netvsc.words import NetvscDeviceWords, NetvscQueueWords
from guest.kernel.core import Core
from guest.net.device import NetDevice
from guest.vmbus.channel import VmbusChannel


@dataclass(frozen=True, slots=True)
class Nic:
    """``channel`` is the primary one; ``queues`` are the words of all queues that there could be."""

    core: Core
    device: NetDevice
    words: NetvscDeviceWords
    queues: list[NetvscQueueWords]
    channel: VmbusChannel
    exchange: Exchange

    def log(self, line: str) -> None:
        """``netdev_info``."""
        self.channel.bus.printk(f"hv_netvsc {self.channel.device.name} {self.device.name}: {line}")
