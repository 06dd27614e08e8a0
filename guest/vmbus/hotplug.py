"""A CPU with a SynIC goes offline (drivers/hv/hv.c ``hv_synic_cleanup``, RFC patches 11 and 12).

On the dying CPU's hotplug task, interrupts on, the CPU still in the online mask.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from guest.vmbus.errors import VmbusError
from guest.vmbus.words import VMBUS_CONNECT_CPU, ConnectionState
from protocol.wire.synic import MESSAGE_SINT
from protocol.wire.versions import Version

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

MODIFYCHANNEL_ATTEMPTS: Final = 5
MODIFYCHANNEL_SLEEP: Final = 0.010
MODIFYCHANNEL_FIXED_SLEEP: Final = 0.025
EVENT_TRIES: Final = 3
EVENT_SLEEP: Final = 0.020
"""Seconds; the upper ends of the ranges that ``usleep_range`` is given, where its timer fires on an idle CPU."""


async def hv_synic_cleanup(bus: Vmbus) -> None:
    """Turn this CPU's SynIC off if no channel needs it. Raises EBUSY, and then nothing has changed.

    The connect CPU stays while connected, and so does a CPU that any channel interrupts, open or not. Once it is left
    out of ``synic_online`` no channel can come to it; what was moved away before is waited for, and so are its events.
    """
    words, cpu, point = bus.tables.connection, bus.core.cpu, bus.core.point
    if words.conn_state != ConnectionState.CONNECTED:
        bus.synic.hv_synic_disable_regs()
        return
    if cpu == VMBUS_CONNECT_CPU:
        raise VmbusError(errno.EBUSY, "the connect CPU stays online")
    # A plain spin_lock(), as posted, though it nests inside descriptor locks that interrupt handlers take.
    set_affinity_lock = bus.core.locks.spin("set_affinity_lock")
    async with bus.channel_mutex:
        with set_affinity_lock:
            words.synic_online &= ~(1 << cpu)
            if point:
                point("vmbus.offline.walk")
            needed = bool(bus.channels.on(cpu))
    try:
        if needed:
            raise VmbusError(errno.EBUSY, f"a channel interrupts CPU {cpu}")
        if words.version >= Version.WIN10_RS3:
            if bus.policy.offline_waits_for_host:
                await hv_synic_wait_for_modifychannel(bus)
            if await hv_synic_event_pending(bus):
                if bus.policy.offline_waits_for_host:
                    bus.printk(f"hv_vmbus: Events pending when trying to offline CPU {cpu}")
                raise VmbusError(errno.EBUSY, f"events of CPU {cpu} are not handled yet")
    except VmbusError:
        bus.synic.set_online()
        raise
    bus.synic.hv_synic_disable_regs()


async def hv_synic_wait_for_modifychannel(bus: Vmbus) -> None:
    """Patch 11: wait until the host has answered every MODIFYCHANNEL sent so far, but not for ever.

    Up to protocol 5.2 there are no answers, and the wait is a fixed one. As posted the message also comes when the last
    answer arrives during the last sleep, and the CPU goes offline whatever the wait has shown.
    """
    words, sleep = bus.tables.connection, bus.core.sleep
    if words.version < Version.V5_3:
        await sleep(MODIFYCHANNEL_FIXED_SLEEP)
        return
    sent, attempts = words.modchan_sent, MODIFYCHANNEL_ATTEMPTS
    while words.modchan_completed < sent and attempts:
        attempts -= 1
        await sleep(MODIFYCHANNEL_SLEEP)
    if not attempts:
        bus.printk(
            f"hv_vmbus: Timed out waiting for MODIFYCHANNEL. CPU {bus.core.cpu} sent {sent} "
            f"completed {words.modchan_completed}"
        )


async def hv_synic_event_pending(bus: Vmbus) -> bool:
    """Whether an event flag of a channel is still set on this CPU after three pauses. Flag 0 does not count."""
    flags = bus.core.port.flag_words(MESSAGE_SINT)
    assert flags is not None, "the event-flags page of a CPU that is up is enabled"
    for _ in range(EVENT_TRIES):
        if not _any_event(flags):
            return False
        await bus.core.sleep(EVENT_SLEEP)
    return _any_event(flags)


def _any_event(flags: memoryview) -> bool:
    return bool(flags[0] & ~1) or any(flags[1:])
