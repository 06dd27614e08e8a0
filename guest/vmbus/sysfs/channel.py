"""``channels/RELID`` of a device: ``vmbus_chan_attrs``."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from guest.fs.node import Directory, File, Node
from guest.vmbus.errors import VmbusError
from guest.vmbus.set_cpu import target_cpu_store
from guest.vmbus.sysfs.view import SysfsChannel

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus


def channel_directory(channel: SysfsChannel, bus: Vmbus | None) -> Directory:
    """Everything is read-only but ``cpu``. What lies in the ring reads EINVAL while the channel is closed."""
    words = channel.words
    shows: dict[str, Callable[[], int]] = {
        "events": lambda: words.events,
        "in_mask": lambda: channel.inbound.interrupt_mask,
        "interrupts": lambda: words.interrupts,
        "intr_in_full": lambda: words.intr_in_full,
        "intr_out_empty": lambda: words.intr_out_empty,
        "out_full_first": lambda: words.out_full_first,
        "out_full_total": lambda: words.out_full_total,
        "out_mask": lambda: channel.outbound.interrupt_mask,
        "read_avail": lambda: channel.inbound.bytes_avail_toread,
        "subchannel_id": lambda: words.sub_channel_index,
        "write_avail": lambda: channel.outbound.bytes_avail_towrite,
    }
    store = None if bus is None else partial(_store_cpu, bus, channel)
    files: dict[str, Node] = {"cpu": File(0o644, lambda: f"{words.target_cpu}\n", store)}
    files.update((name, File(0o444, partial(_line, show))) for name, show in shows.items())
    return Directory.of(files)


def _line(show: Callable[[], int]) -> str:
    return f"{show()}\n"


async def _store_cpu(bus: Vmbus, channel: SysfsChannel, text: str) -> int:
    found = bus.channels.get(channel.relid)
    if found is None:
        raise VmbusError(errno.ENODEV, f"channel {channel.relid} is gone")
    return await target_cpu_store(found, text)
