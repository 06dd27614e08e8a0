"""From the interrupt of a channel to its driver: ``vmbus_chan_handler`` and ``vmbus_on_event`` (drivers/hv)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from guest.kernel.oops import MISTAKES
from guest.vmbus.words import CallbackMode, ChannelWords, VmbusCpuWords
from protocol.errors import PeerError

if TYPE_CHECKING:
    from guest.vmbus.channel import VmbusChannel


def vmbus_chan_handler(channel: VmbusChannel, counts: VmbusCpuWords) -> Callable[[], None]:
    """Build the hard interrupt handler of one channel on one CPU.

    In Linux 6.10 this is the second half of ``vmbus_chan_sched``; RFC patch 9 makes it the channel's IRQ action. The
    callback is looked at under sched_lock, so that whoever clears it knows that no CPU is past this point.
    """
    memory, base = channel.words.memory, channel.words.base
    callback, mode = base + ChannelWords.callback.offset, base + ChannelWords.callback_mode.offset
    interrupts = base + ChannelWords.interrupts.offset
    without = base + ChannelWords.no_callback.offset
    no_callback = counts.base + VmbusCpuWords.no_callback.offset
    dispatched = counts.base + VmbusCpuWords.dispatched.offset
    sched_lock = channel.bus.core.locks.raw("sched_lock", channel.relid)
    schedule = channel.callback_event.schedule
    point = channel.bus.core.point
    isr, batched = int(CallbackMode.ISR), int(CallbackMode.BATCHED)

    def handler() -> None:
        if point:
            point("vmbus.chan.handler")
        sched_lock.acquire()
        try:
            if not memory[callback]:
                memory[no_callback] += 1
                memory[without] += 1
                return
            memory[interrupts] += 1
            memory[dispatched] += 1
            how = memory[mode]
            if how == isr:
                run_callback(channel)
                return
            if how == batched:
                channel.inbound.mask()
            schedule()
        finally:
            sched_lock.release()

    return handler


def vmbus_on_event(channel: VmbusChannel) -> None:
    """The channel's tasklet: callback, and in batched mode the look at the ring after signals are unmasked again."""
    words = channel.words
    if not words.callback:
        return
    run_callback(channel)
    if words.callback_mode != CallbackMode.BATCHED or not words.callback:
        return
    if channel.inbound.unmask():
        channel.inbound.mask()
        channel.callback_event.schedule()


def run_callback(channel: VmbusChannel) -> None:
    """``onchannel_callback`` of the bound driver.

    A host that breaks the protocol loses the channel, and so does a driver from outside that fails; not the guest.
    """
    driver = channel.driver
    if driver is None:
        return
    oops = channel.bus.core.oops
    lockups = oops.lockups
    try:
        if lockups is None:
            driver.onchannel_callback(channel)
        else:
            lockups.enter()
            try:
                driver.onchannel_callback(channel)
            finally:
                lockups.leave()
    except PeerError as error:
        give_up(channel, str(error))
    except MISTAKES as error:
        if not oops.contain(error, f"onchannel_callback of channel {channel.relid}"):
            raise
        give_up(channel, f"its driver {driver.name} is dead")


def give_up(channel: VmbusChannel, why: str) -> None:
    """No callback of this channel runs any more; to close it is still possible."""
    channel.words.callback = 0
    channel.bus.printk(f"hv_vmbus: channel {channel.relid} is stopped: {why}")
