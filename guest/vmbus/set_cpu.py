"""Moving a channel by its ``cpu`` file in sysfs: what Linux did before RFC patch 10, and the parsing that stayed."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from guest.vmbus.affinity import target_cpu_changed
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import ChannelState
from protocol.ids import Cpu, VpIndex
from protocol.wire.messages import ModifyChannel
from protocol.wire.versions import Version

if TYPE_CHECKING:
    from guest.vmbus.channel import VmbusChannel

_UNSIGNED = re.compile(r"\s*([0-9]+)")
_UINT_BITS = 32


async def target_cpu_store(channel: VmbusChannel, text: str) -> int:
    """``target_cpu_store``: the number of bytes that were taken, or 0 for all (the RFC as posted).

    The leading digits count, modulo 2**32. Raises ``OSError``: EIO below protocol 4.1 and for what is no number,
    EINVAL for a CPU that there cannot be, and what moving raises.
    """
    bus = channel.bus
    if bus.tables.connection.version < Version.WIN10_RS3:
        raise VmbusError(errno.EIO, "channels cannot be moved below protocol 4.1")
    digits = _UNSIGNED.match(text)
    if digits is None:
        raise VmbusError(errno.EIO, f"not a CPU: {text.strip()!r}")
    cpu = int(digits[1]) % (1 << _UINT_BITS)
    if cpu >= bus.core.cpus:
        raise VmbusError(errno.EINVAL, f"there is no CPU {cpu}")
    await bus.relids.set_target_cpu(channel, Cpu(cpu))
    return 0 if bus.policy.target_cpu_store_returns_zero else len(text)


async def vmbus_channel_set_cpu(channel: VmbusChannel, cpu: Cpu) -> None:
    """Move an open channel to a CPU that is online and not isolated, without an IRQ of its own.

    From 5.3 on the host's answer is waited for, however long it takes, and only then is the target changed; no CPU
    comes or goes meanwhile. Raises EINVAL (that CPU may not be used), EIO (not open, not posted, or the host refused).
    In Linux a channel's removal waits for writers to its files; here a writer looks whether the channel is still there.
    """
    bus = channel.bus
    async with bus.cpus_read_lock():
        if not (bus.numa.topology.housekeeping & bus.irq.online()) >> cpu & 1:
            raise VmbusError(errno.EINVAL, f"CPU {cpu} is offline or isolated")
        await _move(channel, cpu)


async def _move(channel: VmbusChannel, cpu: Cpu) -> None:
    """``vmbus_send_modifychannel``, with ``send_modifychannel_with_ack``: channel_mutex is let go while the answer is
    waited for, because a rescind takes it on its way to waking whoever waits.
    """
    bus, words = channel.bus, channel.words
    async with bus.channel_mutex:
        if words.state != ChannelState.OPENED or not channel.listed:
            raise VmbusError(errno.EIO, f"channel {channel.relid} is not open")
        old = channel.target_cpu
        if cpu == old:
            return
        message = ModifyChannel(channel.relid, VpIndex(cpu))
        if bus.tables.connection.version < Version.V5_3:
            await _post(channel, message)
            _moved(channel, old, cpu)
            return
        request = bus.requests.add(ModifyChannel, channel.relid)
        try:
            await _post(channel, message)
        except VmbusError:
            bus.requests.remove(request)
            raise
    await request.waitevent.wait()
    async with bus.channel_mutex:
        status = request.words.status
        bus.requests.remove(request)
        if status:
            raise VmbusError(errno.EIO, f"the host refused to move channel {channel.relid}")
        if channel.listed:
            _moved(channel, old, cpu)


def _moved(channel: VmbusChannel, old: Cpu, new: Cpu) -> None:
    channel.words.target_cpu = new
    target_cpu_changed(channel.bus, channel, old, new)


async def _post(channel: VmbusChannel, message: ModifyChannel) -> None:
    try:
        await channel.bus.poster.post(message)
    except VmbusError as error:
        raise VmbusError(errno.EIO, str(error.strerror)) from None
