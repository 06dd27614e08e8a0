"""Moving a channel to another CPU: the VMBus chip's ``irq_set_affinity`` (RFC patches 10 and 12)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from guest.irq.desc import IrqDesc
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import ChannelState
from protocol.ids import Cpu, Relid, VpIndex
from protocol.wire.messages import ModifyChannel, ModifyChannelResponse
from protocol.wire.versions import Version

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channel import VmbusChannel


def vmbus_irq_set_affinity(bus: Vmbus) -> Callable[[IrqDesc, int], int]:
    """Build the chip operation of one CPU: desc->lock held, interrupts off, ``mask`` = wanted and online CPUs.

    The current target is kept if it may be, without any further check. Otherwise the next CPU above the one picked last
    for any channel is taken, and that is remembered even if the move then fails. Does not wait for the host. Raises
    EINVAL (no CPU is left, or the protocol cannot move), EIO (the channel is not open), and as posting does.
    """
    connection = bus.tables.connection
    # The caller has interrupts off, so this is a plain spin_lock() as in the patch.
    set_affinity_lock = bus.core.locks.spin("set_affinity_lock")

    def set_affinity(desc: IrqDesc, mask: int) -> int:
        channel = bus.channels.get(desc.handler_data)
        if channel is None:
            bus.printk(f"hv_vmbus: Bad channel in vmbus_irq_set_affinity for relid {desc.hwirq}")
            raise VmbusError(errno.EINVAL, "the IRQ has no channel")
        with set_affinity_lock:
            candidates = mask & bus.numa.topology.housekeeping
            old = channel.target_cpu
            if candidates >> old & 1:
                return 1 << old
            new = _next_cpu(bus, candidates & connection.synic_online)
            if channel.words.state != ChannelState.OPENED:
                raise VmbusError(errno.EIO, f"channel {channel.relid} is not open")
            if bus.core.point:
                bus.core.point("vmbus.affinity.opened")
            vmbus_send_modifychannel(bus, channel.relid, new)
            channel.words.target_cpu = new
        target_cpu_changed(bus, channel, old, new)
        return 1 << new

    return set_affinity


def _next_cpu(bus: Vmbus, candidates: int) -> Cpu:
    """``cpumask_next`` above the last one, round the end."""
    words = bus.tables.connection
    above = candidates >> (words.next_cpu + 1) << (words.next_cpu + 1)
    chosen = above or candidates
    if not chosen:
        raise VmbusError(errno.EINVAL, "no CPU with a SynIC is left in the mask")
    cpu = Cpu((chosen & -chosen).bit_length() - 1)
    words.next_cpu = cpu
    return cpu


def target_cpu_changed(bus: Vmbus, channel: VmbusChannel, old: Cpu, new: Cpu) -> None:
    """What depends on the target: the NUMA map, and what the driver derives from it."""
    if channel.type.perf:
        bus.numa.set_allocated_cpu(new)
        if not bus.channels.perf_channel_on(old):
            bus.numa.clear_allocated_cpu(old)
    driver = channel.driver
    if driver is not None:
        with bus.core.oops.containing("change_target_cpu"):
            driver.change_target_cpu(channel, old, new)


def vmbus_send_modifychannel(bus: Vmbus, relid: Relid, cpu: Cpu) -> None:
    """Ask the host to interrupt ``cpu`` from now on, and count that it was asked. Raises EINVAL below 4.1."""
    words = bus.tables.connection
    if words.version < Version.WIN10_RS3:
        raise VmbusError(errno.EINVAL, "MODIFYCHANNEL needs protocol 4.1")
    bus.poster.post_atomic(ModifyChannel(relid, VpIndex(cpu)))
    words.modchan_sent += 1


def vmbus_onmodifychannel_response(bus: Vmbus, response: ModifyChannelResponse) -> None:
    """Patch 11. From 5.3 on: the host will not interrupt the old CPU any more. A refusal is logged, and that is all."""
    bus.tables.connection.modchan_completed += 1
    if response.status:
        bus.printk(f"hv_vmbus: Error status {response.status:x} in MODIFYCHANNEL response for relid {response.relid}")
