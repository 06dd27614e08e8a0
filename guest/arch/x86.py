"""The system vectors of a guest on Hyper-V, and what each adds to the tail of /proc/interrupts (x86, 64 bit).

``sysvec_hyperv_callback`` is in arch/x86/kernel/cpu/mshyperv.c, the reschedule and call-function vectors are in
arch/x86/kernel/smp.c, the synthetic timer's in drivers/clocksource/hyperv_timer.c.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.irq.desc import ArchIrqStat
from guest.kernel.core import CALL_FUNCTION_SINGLE_VECTOR, RESCHEDULE_VECTOR, Core
from protocol.wire.synic import HYPERV_STIMER0_VECTOR, HYPERVISOR_CALLBACK_VECTOR


def install_vectors(
    core: Core, stat: ArchIrqStat, vmbus_handler: Callable[[], bool], *, count_messages_only: bool
) -> None:
    """Fill the interrupt table of one CPU.

    ``vmbus_handler`` returns whether there was a control message. HYP is counted first and always; with
    ``count_messages_only`` (RFC patch 9) afterwards, and only if there was one.
    """
    words, base = stat.memory, stat.base
    hyp, cal = base + ArchIrqStat.hyp.offset, base + ArchIrqStat.cal.offset
    res, hvs = base + ArchIrqStat.res.offset, base + ArchIrqStat.hvs.offset

    def sysvec_hyperv_callback() -> None:
        words[hyp] += 1
        vmbus_handler()

    def sysvec_hyperv_callback_rfc() -> None:
        if vmbus_handler():
            words[hyp] += 1

    def sysvec_call_function_single() -> None:
        words[cal] += 1
        core.calls.interrupt()

    def sysvec_reschedule_ipi() -> None:
        words[res] += 1
        core.wake_parked()

    def sysvec_hyperv_stimer0() -> None:
        words[hvs] += 1
        core.timer_interrupt()

    core.vectors[HYPERVISOR_CALLBACK_VECTOR] = (
        sysvec_hyperv_callback_rfc if count_messages_only else sysvec_hyperv_callback
    )
    core.vectors[CALL_FUNCTION_SINGLE_VECTOR] = sysvec_call_function_single
    core.vectors[RESCHEDULE_VECTOR] = sysvec_reschedule_ipi
    core.vectors[HYPERV_STIMER0_VECTOR] = sysvec_hyperv_stimer0
