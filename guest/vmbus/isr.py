"""The top-level VMBus interrupt (``vmbus_isr``, drivers/hv/vmbus_drv.c): event flags first, then the message slot."""

from __future__ import annotations

from collections.abc import Callable

from guest.kernel.core import Core
from guest.vmbus.synic import Synic
from guest.vmbus.words import VmbusCpuWords
from protocol.wire.synic import EVENT_FLAGS_SIZE, MESSAGE_SINT, MESSAGE_SIZE


def vmbus_isr(
    core: Core,
    synic: Synic,
    counts: VmbusCpuWords,
    deliver: Callable[[int], None],
    schedule_msg_dpc: Callable[[], None],
) -> Callable[[], bool]:
    """Build the handler of one CPU. It returns whether the message slot of SINT 2 was occupied (RFC patch 9).

    Each flag that is set, lowest relid first, is cleared before it is delivered; a later signal sets it again and
    raises the vector again. Clearing needs no atomic operation here, because the hypervisor's half that sets flags
    (the VP port) runs in the same thread. Simplified: no message is ever TIMER_EXPIRED (timers are in direct mode).
    """
    start = synic.synic_event_page + MESSAGE_SINT * EVENT_FLAGS_SIZE
    flags = core.ram.bytes[start : start + EVENT_FLAGS_SIZE]
    words, first = core.ram.words, start // 8
    slot = (synic.synic_message_page + MESSAGE_SINT * MESSAGE_SIZE) // 8
    memory, base = counts.memory, counts.base
    interrupts = base + VmbusCpuWords.interrupts.offset
    with_message = base + VmbusCpuWords.with_message.offset
    spurious = base + VmbusCpuWords.spurious.offset
    cleared = base + VmbusCpuWords.bits_cleared.offset
    bit_zero = base + VmbusCpuWords.bit_zero.offset
    point = core.point

    def vmbus_chan_sched(found: int) -> None:
        while found:
            relid = (found & -found).bit_length() - 1
            found &= found - 1
            index, bit = first + (relid >> 6), 1 << (relid & 63)
            if not words[index] & bit:
                continue
            words[index] ^= bit
            memory[cleared] += 1
            if point:
                point("vmbus.isr.cleared")
            if relid:
                deliver(relid)
            else:
                memory[bit_zero] += 1

    def isr() -> bool:
        memory[interrupts] += 1
        found = int.from_bytes(flags, "little")
        if found:
            vmbus_chan_sched(found)
        if words[slot] & 0xFFFFFFFF:
            memory[with_message] += 1
            schedule_msg_dpc()
            return True
        if not found:
            memory[spurious] += 1
        return False

    return isr
