"""From the scan of the event flags through the IRQ core to the channels (I9, I11, I12)."""

from __future__ import annotations

from collections.abc import Iterator

from lab.report.check import Check
from lab.report.cut import Cut


def checks(cut: Cut) -> Iterator[Check]:
    """Each CPU for itself: every counter here has one writer."""
    cpus = zip(cut.guest.vmbus.cpus, cut.guest.irq.cpu_stat, cut.guest.irq.arch_stat, strict=True)
    for number, (vmbus, irq, arch) in enumerate(cpus):
        handled = vmbus.no_callback + vmbus.dispatched
        pended = irq.pended_no_action + irq.pended_disabled
        runs = irq.irqs_sum + irq.dropped_in_progress + pended - irq.replayed
        yield Check(
            f"flags found by CPU {number}",
            "scan cleared",
            vmbus.bits_cleared,
            "bit 0 + unmapped + rescinded + reached a channel",
            vmbus.bit_zero + vmbus.unmapped + vmbus.rescinded + (runs if cut.policy.channel_irqs else handled),
            "I11",
        )
        if cut.policy.channel_irqs:
            counted = irq.irqs_sum - irq.bad
            yield Check(f"handlers of CPU {number}", "IRQ core ran", counted, "channels ran", handled, "I9")
        messages_only = cut.policy.hyp_counts_messages_only
        yield Check(
            f"HYP on CPU {number}",
            "row",
            arch.hyp,
            "those with a message" if messages_only else "all top-level interrupts",
            vmbus.with_message if messages_only else vmbus.interrupts,
            "I12",
        )
