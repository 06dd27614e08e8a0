"""What an interrupt controller does for the core (``struct irq_chip``), and what a driver's handler looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from guest.irq.desc import IrqDesc
from protocol.ids import Irq

Handler: TypeAlias = Callable[[Irq, int], bool]
"""``irq_handler_t``: called with the IRQ and ``dev_id``; True is IRQ_HANDLED, False is IRQ_NONE."""

Callback: TypeAlias = Callable[[IrqDesc], None]


@dataclass(frozen=True, slots=True)
class IrqChip:
    """``struct irq_chip``: operations that may be absent, which the core can tell from empty ones.

    ``set_affinity`` is called under desc->lock with interrupts off, gets the online part of the wanted mask, returns
    the effective affinity, and raises ``OSError`` with the errno that the writer shall see. A chip without ``unmask``
    leaves its IRQs flagged as masked, which is why the VMBus chip has empty ``mask`` and ``unmask`` (RFC patch 7).
    """

    name: str
    mask: Callback | None = None
    unmask: Callback | None = None
    ack: Callback | None = None
    eoi: Callback | None = None
    set_affinity: Callable[[IrqDesc, int], int] | None = None


NO_IRQ_CHIP = IrqChip("none")
"""``no_irq_chip``: what a descriptor has before a domain maps it."""


def no_action(irq: Irq, dev_id: int) -> bool:
    """What running an empty action list yields: IRQ_NONE."""
    return False
