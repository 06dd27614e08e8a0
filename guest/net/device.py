"""Network devices of the whole system: their words, and what a program on any CPU does with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from guest.kernel.core import Core
from guest.kernel.memory import Array, Text, Word
from guest.kernel.wait import MutexWords, WaitQueue, WaitWords
from guest.net.frame import Frame

MAX_DEVICES: Final = 4
MAX_QUEUES: Final = 64
"""Of one device, and never more than there are CPUs."""
TX_TABLE_SIZE: Final = 16

ABSENT: Final = 0
REGISTERED: Final = 1
GONE: Final = 2


class NetDeviceWords(WaitWords):
    """``struct net_device``. The wait queue is woken whenever ``state``, ``attached`` or ``running`` changes."""

    state = Word("rtnl")
    """ABSENT, REGISTERED, or GONE: no frame goes in or out any more."""
    running = Word("rtnl")
    """IFF_UP and not being taken down: frames may be sent."""
    registrations = Word("rtnl")
    """How many devices have had this name."""
    epoch = Word("rtnl")
    """How often it has come up or gone down. Frames of one epoch may be lost at its end; none is sent in another."""
    relid = Word("rtnl")
    """The primary channel; 0: the name is free."""
    address = Word("rtnl")
    """MAC address, first byte lowest."""
    mtu = Word("rtnl")
    carrier = Word("rtnl; receive path of the primary channel")
    """1: the link is up."""
    speed = Word("rtnl")
    """Units of 100 bit/s; 0: not known."""
    alias = Text(64, "rtnl")
    """What the host calls it."""
    attached = Word("rtnl")
    """1: all its queues are there that will be (``netif_device_attach``)."""
    queues = Word("rtnl")
    """``real_num_tx_queues``: those with a channel that is open."""
    tx_table = Array(TX_TABLE_SIZE, "rtnl; receive path of the primary channel")
    """Queue of a frame by its hash, as the host would have it."""


class NetQueueWords(WaitWords):
    """``struct netdev_queue``, and the statistics of its channel. The wait queue is for those it was stopped for."""

    stopped = Word("xmit lock")
    """There was no room for a frame; whoever makes room wakes the waiters."""
    tx_frames = Word("xmit lock")
    tx_bytes = Word("xmit lock")
    tx_dropped = Word("xmit lock")
    """Frames given to it while the device was not running, or that no host could take."""
    tx_abandoned = Word("xmit lock")
    """Frames sent that were never completed: their channel was closed, and the host may have seen them or not."""
    rx_frames = Word("NAPI")
    rx_bytes = Word("NAPI")
    rx_dropped = Word("NAPI")
    """Frames that nobody was registered for."""


Receiver = Callable[[int, memoryview], None]
"""Given each frame that comes in, with its queue, in softirq context of any CPU."""


class NetDriver(Protocol):
    """``struct net_device_ops``, on each CPU. ``open`` and ``stop`` are called under rtnl and raise OSError."""

    async def open(self, device: NetDevice) -> None:
        """Let frames come and go."""

    async def stop(self, device: NetDevice) -> None:
        """No frame comes or goes once this returns."""

    def start_xmit(self, device: NetDevice, queue: int, frame: Frame, epoch: int) -> bool:
        """Take the frame and its pages. False (NETDEV_TX_BUSY): the queue is stopped, the frame still the caller's."""


class NetDevice:
    """One CPU's view of a device."""

    def __init__(self, core: Core, index: int, words: NetDeviceWords, queues: list[NetQueueWords]) -> None:
        self.index = index
        self.name = f"eth{index}"
        self.words = words
        self.queues = queues
        self.changed: WaitQueue = core.wait_queue(words)
        self.woken: list[WaitQueue] = [core.wait_queue(queue) for queue in queues]
        self.receiver: Receiver | None = None

    @property
    def address(self) -> bytes:
        """MAC address."""
        return self.words.address.to_bytes(6, "little")

    def pick_tx(self, hash: int) -> int:
        """``netvsc_pick_tx``: the queue of a flow, by the host's table."""
        words = self.words
        return words.tx_table[hash % TX_TABLE_SIZE] % words.queues


class NetDevices:
    """All devices, eth0 onwards, as one CPU sees them. Made once on every CPU, at the same place of start-up."""

    def __init__(self, core: Core, driver: NetDriver) -> None:
        count = min(core.cpus, MAX_QUEUES)
        words = core.memory.table(NetDeviceWords, MAX_DEVICES)
        queues = list(core.memory.table(NetQueueWords, MAX_DEVICES * count))
        self.rtnl = core.mutex(core.memory.one(MutexWords))
        self.max_queues = count
        self._driver = driver
        self._all = [
            NetDevice(core, index, each, queues[index * count : (index + 1) * count])
            for index, each in enumerate(words)
        ]

    def __getitem__(self, index: int) -> NetDevice:
        return self._all[index]

    def __iter__(self) -> Iterator[NetDevice]:
        """All that there can be; look at ``state``."""
        return iter(self._all)

    def unused(self) -> NetDevice | None:
        """The lowest name that is free, under rtnl (``register_netdevice``); None if there are too many devices."""
        return next((device for device in self._all if not device.words.relid), None)

    async def up(self, device: NetDevice) -> None:
        """``ip link set up``; nothing if it is up or not there. Raises OSError.

        Simplified: it waits until the device has all its queues, so that no flow changes from one to another.
        """
        words = device.words
        await device.changed.wait_event(lambda: words.attached != 0 or words.state != REGISTERED)
        async with self.rtnl:
            if words.state == REGISTERED and not words.running:
                words.epoch += 1
                await self._driver.open(device)
                words.running = 1
        device.changed.wake_up()

    async def down(self, device: NetDevice) -> None:
        """``ip link set down``. Raises OSError."""
        async with self.rtnl:
            if device.words.running:
                await self.close(device)

    async def close(self, device: NetDevice) -> None:
        """``dev_close``, under rtnl. Raises OSError."""
        device.words.running = 0
        device.words.epoch += 1
        device.changed.wake_up()
        await self._driver.stop(device)

    def transmit(self, device: NetDevice, queue: int, frame: Frame, epoch: int) -> bool:
        """``dev_queue_xmit`` without a queueing discipline: a frame made in ``epoch``, while the device was running.

        If that has ended meanwhile the frame is dropped. False: wait for ``device.woken[queue]`` if it is stopped.
        """
        return self._driver.start_xmit(device, queue, frame, epoch)
