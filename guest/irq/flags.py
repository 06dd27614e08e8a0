"""Bits of a descriptor's three state words, with Linux's values, so that debugfs can print the words as they are.

``status`` holds settings (``IRQ_*``, include/linux/irq.h), ``istate`` what the core remembers (``IRQS_*``,
kernel/irq/internals.h), ``dstate`` what chips may know too (``IRQD_*``, include/linux/irq.h). Only bits that something
here sets or tests are listed.
"""

from typing import Final

IRQ_LEVEL: Final = 1 << 8
IRQ_PER_CPU: Final = 1 << 9
IRQ_NOREQUEST: Final = 1 << 11
IRQ_NO_BALANCING: Final = 1 << 13
IRQ_MOVE_PCNTXT: Final = 1 << 14
IRQ_HIDDEN: Final = 1 << 20

IRQS_REPLAY: Final = 1 << 6
IRQS_WAITING: Final = 1 << 7
IRQS_PENDING: Final = 1 << 9
IRQS_SYSFS: Final = 1 << 14

IRQD_ACTIVATED: Final = 1 << 9
IRQD_NO_BALANCING: Final = 1 << 10
IRQD_PER_CPU: Final = 1 << 11
IRQD_AFFINITY_SET: Final = 1 << 12
IRQD_LEVEL: Final = 1 << 13
IRQD_MOVE_PCNTXT: Final = 1 << 15
IRQD_IRQ_DISABLED: Final = 1 << 16
IRQD_IRQ_MASKED: Final = 1 << 17
IRQD_IRQ_INPROGRESS: Final = 1 << 18
IRQD_IRQ_STARTED: Final = 1 << 22

IRQF_COND_ONESHOT: Final = 0x00200000
"""Added by ``request_irq()`` itself to every action's flags; visible in the "Flags mismatch" message."""

MIRRORED: Final = (
    (IRQ_LEVEL, IRQD_LEVEL),
    (IRQ_PER_CPU, IRQD_PER_CPU),
    (IRQ_NO_BALANCING, IRQD_NO_BALANCING),
    (IRQ_MOVE_PCNTXT, IRQD_MOVE_PCNTXT),
)
"""Settings that ``irq_modify_status()`` copies into ``dstate``."""
