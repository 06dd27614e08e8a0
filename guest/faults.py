"""Faults that can be injected into a running CPU of the guest: each breaks what an equation of the report watches.

Stray events are what broken hardware or a wild store would do; what is "not counted" is a lost update, as between two
CPUs that write a counter without a lock.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.arch.smpboot import CpuMaskWords
from guest.irq.desc import IrqDesc
from guest.irq.domain import LinearRevmap
from guest.kernel.core import RESCHEDULE_VECTOR
from guest.system import System
from guest.vmbus.words import ChannelState
from protocol.ids import Cpu
from protocol.wire.messages import RequestOffers
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
    handler = system.bus.channels.handler(relid)
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


def wrong_effective(system: System, relid: int, cpu: int) -> None:
    """The IRQ core believes that a channel's IRQ is delivered elsewhere."""
    _desc(system, relid).effective_affinity = 1 << cpu


def wrong_hwirq(system: System, relid: int) -> None:
    """The IRQ of a channel claims another channel's relid."""
    _desc(system, relid).hwirq = relid + 1


def lost_handler(system: System, relid: int) -> None:
    """This CPU has forgotten a channel that is there."""
    if system.bus.channels.get(relid) is not None:
        system.bus.channels.handlers[relid] = None


def stray_mapping(system: System, relid: int, owner: int) -> None:
    """A relid that has no channel leads to the IRQ of another one."""
    system.core.memory.find(LinearRevmap)[0].irqs[relid] = system.bus.tables.channels[owner].irq


def vanished_channel(system: System, relid: int) -> None:
    """A channel is off the list, and its relid was not released."""
    system.bus.tables.channels[relid].live = 0


def vanished_directory(system: System, relid: int) -> None:
    """/proc/irq/N of a channel is gone before its IRQ."""
    _desc(system, relid).in_proc = 0


def forgotten_open(system: System, relid: int) -> None:
    """A channel is taken for closed, and its IRQ is still requested."""
    system.bus.tables.channels[relid].state = ChannelState.OPEN


def unreadable_name(system: System, relid: int) -> None:
    """The name of an IRQ breaks its line of /proc/interrupts."""
    _desc(system, relid).action_name = "two\nlines"


def miscounted_total(system: System) -> None:
    """This CPU's part of /proc/stat has counted an interrupt too many."""
    system.irq_tables.cpu_stat[system.core.cpu].irqs_sum += 1


def uncounted_post(system: System) -> None:
    """A message to the host that this CPU has not counted: its first REQUESTOFFERS."""
    system.bus.counts.posted[RequestOffers.number] -= 1


def uncounted_bytes(system: System, relid: int) -> None:
    """This CPU has read a packet more than the host has written."""
    system.bus.channels[relid].inbound.read += 64


def invented_answer(system: System) -> None:
    """A MODIFYCHANNEL_RESPONSE is counted that the host has not sent."""
    system.bus.tables.connection.modchan_completed += 1


def stray_mark(system: System, cpu: int) -> None:
    """The NUMA map has a CPU as taken that no channel interrupts."""
    system.bus.numa.set_allocated_cpu(Cpu(cpu))


def forgotten_synic(system: System) -> None:
    """The SynIC of this CPU works, and ``synic_online`` does not know."""
    system.bus.tables.connection.synic_online &= ~(1 << system.core.cpu)


def dead_cpu(system: System, flag: int) -> None:
    """This CPU is offline, its SynIC is not, and an event flag is set there that nobody will ever see."""
    stray_flag(system, flag)
    system.core.memory.find(CpuMaskWords)[0].online &= ~(1 << system.core.cpu)


def _desc(system: System, relid: int) -> IrqDesc:
    return system.irq_tables.descs[system.bus.tables.channels[relid].irq]


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
        wrong_effective,
        wrong_hwirq,
        lost_handler,
        stray_mapping,
        vanished_channel,
        vanished_directory,
        forgotten_open,
        unreadable_name,
        miscounted_total,
        uncounted_post,
        uncounted_bytes,
        invented_answer,
        stray_mark,
        forgotten_synic,
        dead_cpu,
    )
}
