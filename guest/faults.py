"""Faults that can be injected into a running CPU of the guest: each breaks what an equation of the report watches.

Stray events are what broken hardware or a wild store would do; what is "not counted" is a lost update, as between two
CPUs that write a counter without a lock.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.kernel.core import RESCHEDULE_VECTOR
from guest.system import System
from protocol.wire.synic import EVENT_FLAGS_SIZE, HYPERVISOR_CALLBACK_VECTOR, MESSAGE_SINT, MESSAGE_SIZE


def stray_flag(system: System, flag: int) -> None:
    """A wild store sets an event flag of this CPU."""
    page = system.bus.synic.synic_event_page + MESSAGE_SINT * EVENT_FLAGS_SIZE
    system.core.ram.words[page // 8 + flag // 64] |= 1 << flag % 64


def stray_message(system: System) -> None:
    """A wild store fills the message slot of this CPU, and an interrupt makes it look."""
    system.core.ram.words[(system.bus.synic.synic_message_page + MESSAGE_SINT * MESSAGE_SIZE) // 8] = 1
    system.core.port.raise_vector(HYPERVISOR_CALLBACK_VECTOR)


def stray_ipi(system: System) -> None:
    """This CPU takes a reschedule interrupt that nobody has sent."""
    system.core.port.raise_vector(RESCHEDULE_VECTOR)


def stray_doorbell(system: System, relid: int) -> None:
    """This CPU signals the host for a channel, and the channel does not know."""
    system.bus.hypercalls.hv_signal_event(system.bus.channels[relid].offer.connection_id)


def stray_handler(system: System, relid: int) -> None:
    """A channel's handler runs without an interrupt."""
    handler = system.bus.channels.handlers[relid]
    assert handler is not None
    handler()


def stray_callback(system: System) -> None:
    """The hypervisor's callback runs on this CPU without a vector; it finds nothing."""
    system.bus.isr()


def unsorted_flag(system: System) -> None:
    """The port of this CPU has not counted that a flag was set already."""
    system.core.port.counts.signals_merged -= 1


def missorted_flag(system: System) -> None:
    """The scan of this CPU counts a flag as unmapped that it delivered."""
    system.bus.counts.unmapped += 1


def uncounted_interrupt(system: System, relid: int) -> None:
    """An interrupt of a channel on this CPU is missing from its row of /proc/interrupts."""
    irq = system.bus.tables.channels[relid].irq
    system.irq_tables.kstat[system.core.cpu].counts[irq] -= 1


def uncounted_callback(system: System, relid: int) -> None:
    """A callback of a channel is missing from its sysfs ``interrupts``."""
    system.bus.tables.channels[relid].interrupts -= 1


def wrong_hyp(system: System) -> None:
    """HYP has counted an interrupt of this CPU that it should not, as under the other policy."""
    system.irq_tables.arch_stat[system.core.cpu].hyp += 1


def untold_target(system: System, relid: int, cpu: int) -> None:
    """A channel has moved to another CPU, and the host was not told."""
    system.bus.tables.channels[relid].target_cpu = cpu


FAULTS: dict[str, Callable[..., None]] = {
    fault.__name__: fault
    for fault in (
        stray_flag,
        stray_message,
        stray_ipi,
        stray_doorbell,
        stray_handler,
        stray_callback,
        unsorted_flag,
        missorted_flag,
        uncounted_interrupt,
        uncounted_callback,
        wrong_hyp,
        untold_target,
    )
}
