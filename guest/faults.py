"""Faults that can be injected into a running CPU of the guest: each breaks what an equation of the report watches.

Most are a lost update: what happens to a counter that two CPUs write without a lock.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.drivers.hv_util.service import UtilWords
from guest.system import System
from guest.vmbus.words import ChannelWords


def uncounted_interrupt(system: System, relid: int) -> None:
    """An interrupt of a channel is missing from its row of /proc/interrupts."""
    irq = system.bus.tables.channels[relid].irq
    system.irq_tables.kstat[system.core.cpu].counts[irq] -= 1


def undispatched_callback(system: System, relid: int) -> None:
    """A callback of a channel is missing from its sysfs ``interrupts``."""
    system.bus.tables.channels[relid].interrupts -= 1


def uncounted_doorbell(system: System, relid: int) -> None:
    """A signal to the host is missing from the channel's sysfs ``events``."""
    system.bus.tables.channels[relid].events -= 1


def lost_bit(system: System) -> None:
    """A flag that the scan of this CPU cleared was not counted."""
    system.bus.counts.bits_cleared -= 1


def forgotten_message(system: System) -> None:
    """A control message that this CPU took was not counted."""
    system.bus.counts.messages[1] -= 1


def hyp_counts_too_much(system: System) -> None:
    """HYP has counted an interrupt that it should not, as it does under the other policy."""
    system.irq_tables.arch_stat[system.core.cpu].hyp += 1


def forgotten_ipi(system: System) -> None:
    """An interrupt from another CPU is missing from the RES row."""
    system.irq_tables.arch_stat[system.core.cpu].res += 1


def unanswered(system: System, relid: int) -> None:
    """An answer of an integration service was not sent, or not counted."""
    words = system.bus.tables.channels[relid]
    area = UtilWords(words.memory, words.base + ChannelWords.driver_area.offset)
    area.answered -= 1


FAULTS: dict[str, Callable[..., None]] = {
    fault.__name__: fault
    for fault in (
        uncounted_interrupt,
        undispatched_callback,
        uncounted_doorbell,
        lost_bit,
        forgotten_message,
        hyp_counts_too_much,
        forgotten_ipi,
        unanswered,
    )
}
