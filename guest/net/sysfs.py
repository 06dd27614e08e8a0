"""/sys/class/net: the devices that are there, and ``flags``, by which one is taken up and down (net/core/net-sysfs.c).

Simplified: a directory where Linux has a link into /sys/devices, and the files that say something here.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from guest.fs.node import Directory, File, Node
from guest.kernel.memory import KernelMemory
from guest.net.device import REGISTERED, NetDevices, NetDeviceWords, NetQueueWords

IFF_UP: Final = 0x1
IFF_BROADCAST: Final = 0x2
IFF_MULTICAST: Final = 0x1000
ARPHRD_ETHER: Final = 1
PER_MBIT: Final = 10_000
"""Units of ``speed`` in a Mbit/s."""


@dataclass(frozen=True, slots=True)
class NetTables:
    """What the files are made of: each device with its queues."""

    devices: Sequence[tuple[NetDeviceWords, Sequence[NetQueueWords]]]

    @classmethod
    def find(cls, memory: KernelMemory) -> Self:
        """Without devices if the kernel has no network driver."""
        try:
            devices, queues = memory.find(NetDeviceWords), list(memory.find(NetQueueWords))
        except LookupError:
            return cls(())
        each = len(queues) // len(devices)
        return cls([(words, queues[index * each : (index + 1) * each]) for index, words in enumerate(devices)])


def sys_class_net(tables: NetTables, devices: NetDevices | None) -> Directory:
    """``devices`` of the CPU that writes do their work on; without them nothing can be written."""

    def entries() -> dict[str, Node]:
        return {
            f"eth{index}": _device(index, words, queues, devices)
            for index, (words, queues) in enumerate(tables.devices)
            if words.state == REGISTERED
        }

    return Directory(entries)


def _device(
    index: int, words: NetDeviceWords, queues: Sequence[NetQueueWords], devices: NetDevices | None
) -> Directory:
    shows: dict[str, Callable[[], object]] = {
        "address": lambda: words.address.to_bytes(6, "little").hex(":"),
        "carrier": lambda: _if_running(words, words.carrier),
        "ifalias": lambda: words.alias,
        "mtu": lambda: words.mtu,
        "operstate": lambda: "up" if words.running and words.carrier else "down",
        "speed": lambda: _if_running(words, words.speed // PER_MBIT),
        "type": lambda: ARPHRD_ETHER,
    }
    counts: dict[str, Callable[[], object]] = {
        "rx_bytes": lambda: sum(queue.rx_bytes for queue in queues),
        "rx_dropped": lambda: sum(queue.rx_dropped for queue in queues),
        "rx_packets": lambda: sum(queue.rx_frames for queue in queues),
        "tx_bytes": lambda: sum(queue.tx_bytes for queue in queues),
        "tx_dropped": lambda: sum(queue.tx_dropped for queue in queues),
        "tx_packets": lambda: sum(queue.tx_frames for queue in queues),
    }
    store = None if devices is None else partial(flags_store, devices, index)
    nodes: dict[str, Node] = {name: File(0o444, partial(_line, show)) for name, show in shows.items()}
    nodes["flags"] = File(0o644, lambda: f"{_flags(words):#x}\n", store)
    nodes["statistics"] = Directory.of({name: File(0o444, partial(_line, show)) for name, show in counts.items()})
    return Directory.of(nodes)


async def flags_store(devices: NetDevices, index: int, text: str) -> int:
    """``ip link set up`` and ``down``; the other flags stay. Raises EINVAL (no number), and what the driver raises."""
    try:
        flags = int(text, 0)
    except ValueError:
        raise OSError(errno.EINVAL, f"flags cannot be {text.strip()!r}") from None
    device = devices[index]
    await (devices.up(device) if flags & IFF_UP else devices.down(device))
    return len(text)


def _flags(words: NetDeviceWords) -> int:
    return IFF_BROADCAST | IFF_MULTICAST | (IFF_UP if words.running else 0)


def _if_running(words: NetDeviceWords, value: int) -> int:
    """What only a device that is up can tell."""
    if not words.running:
        raise OSError(errno.EINVAL, "the device is down")
    return value


def _line(show: Callable[[], object]) -> str:
    return f"{show()}\n"
