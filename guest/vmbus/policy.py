"""The interrupt designs that are compared."""

from __future__ import annotations

from enum import Enum


class Policy(Enum):
    """``LEGACY``: Linux 6.10 as it is. ``RFC``: with the twelve patches of "Hyper-V guests use Linux IRQs for channel
    interrupts" (Michael Kelley, June 2024) as posted, defects included.

    The properties say what differs and which patch brings it; nothing else in the guest asks for the policy.
    """

    LEGACY = "legacy"
    RFC = "rfc"

    @property
    def drops_unsupported_offers(self) -> bool:
        """Patch 1: an offer that only Windows can use leaves no trace. Without it a channel that nobody ever opens."""
        return self is Policy.RFC

    @property
    def channel_irqs(self) -> bool:
        """Patches 7 to 10 and 12: each channel is an IRQ of the domain ``hv-vmbus``, which is also the relid map."""
        return self is Policy.RFC

    @property
    def offline_waits_for_host(self) -> bool:
        """Patch 11: a CPU that goes offline waits for the host's answers, and says so if events hold it up."""
        return self is Policy.RFC

    @property
    def counts_modifychannels(self) -> bool:
        """Patch 11: taking a CPU offline waits for the answers to all moves; before, each mover waited for its own."""
        return self is Policy.RFC

    @property
    def hyp_counts_messages_only(self) -> bool:
        """Patch 9: HYP counts the top-level interrupts that found a control message, not all of them."""
        return self is Policy.RFC

    @property
    def target_cpu_store_returns_zero(self) -> bool:
        """Patch 10 as posted (defect D2): sysfs ``cpu`` answers a write that worked with 0, so common writers repeat it
        for ever."""
        return self is Policy.RFC
