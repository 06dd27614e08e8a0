"""From the relid of a set event flag to the channel's handler: what the RFC changes.

``ChannelArray`` is ``vmbus_connection.channels[]`` of Linux 6.10; ``ChannelIrqs`` is the IRQ domain that RFC patches 7
to 9 put in its place.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from guest.irq.affinity import irq_set_affinity, irq_set_affinity_and_hint, irq_update_affinity_hint
from guest.irq.alloc import free_desc
from guest.irq.chip import Handler, IrqChip
from guest.irq.desc import IrqDesc
from guest.irq.domain import IrqDomain
from guest.irq.flags import IRQ_MOVE_PCNTXT
from guest.irq.manage import free_irq, request_irq
from guest.vmbus.affinity import vmbus_irq_set_affinity, vmbus_onmodifychannel_response
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.errors import VmbusError
from guest.vmbus.set_cpu import vmbus_channel_set_cpu
from guest.vmbus.words import ChannelWords, VmbusCpuWords
from protocol.ids import Cpu, Irq
from protocol.wire.messages import ModifyChannel, ModifyChannelResponse

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.channels import ChannelTable


class RelidMap(Protocol):
    """All but ``deliver`` run in process context; ``map`` to ``forget`` under channel_mutex."""

    deliver: Callable[[int], None]
    """Hard interrupt: the flag of this relid was set and has been cleared."""

    def map(self, channel: VmbusChannel) -> bool:
        """``vmbus_channel_map_relid``. False: the channel cannot be used."""

    def unmap(self, channel: VmbusChannel) -> None:
        """``vmbus_channel_unmap_relid``: no new interrupt finds the channel."""

    def forget(self, channel: VmbusChannel) -> None:
        """After the grace period that follows ``unmap``."""

    def request(self, channel: VmbusChannel) -> None:
        """In ``__vmbus_open``, rings in place: let interrupts through. Raises ``VmbusError``."""

    def release(self, channel: VmbusChannel) -> None:
        """Undo ``request`` after a failed open."""

    def rename(self, channel: VmbusChannel) -> None:
        """``irq_name`` has changed."""

    async def set_target_cpu(self, channel: VmbusChannel, cpu: Cpu) -> None:
        """Somebody wrote ``cpu``, which is below nr_cpu_ids, to the channel's file in sysfs. Not under channel_mutex.

        Raises ``OSError`` with the errno that the writer sees."""

    def on_modifychannel_response(self, response: ModifyChannelResponse) -> None:
        """The host answered a MODIFYCHANNEL (5.3). In the message tasklet."""


class ChannelArray:
    """Linux 6.10: relid to channel to handler, directly. The array fills as channels are looked up."""

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        handlers, find, memory = bus.channels.handlers, bus.channels.handler, bus.core.memory.words
        rescind, size = bus.tables.channels[0].base + ChannelWords.rescind.offset, ChannelWords.size
        unmapped = bus.counts.base + VmbusCpuWords.unmapped.offset
        rescinded = bus.counts.base + VmbusCpuWords.rescinded.offset
        unreached = bus.counts.base + VmbusCpuWords.unreached.offset

        def deliver(relid: int) -> None:
            handler = handlers[relid] or find(relid)
            if handler is None:
                memory[unmapped] += 1
                memory[unreached + relid] += 1
            elif memory[rescind + relid * size]:
                memory[rescinded] += 1
                memory[unreached + relid] += 1
            else:
                handler()

        self.deliver: Callable[[int], None] = deliver

    def map(self, channel: VmbusChannel) -> bool:
        return True

    def unmap(self, channel: VmbusChannel) -> None:
        """The array entries go when the channel is retired."""

    def forget(self, channel: VmbusChannel) -> None: ...
    def request(self, channel: VmbusChannel) -> None: ...
    def release(self, channel: VmbusChannel) -> None: ...
    def rename(self, channel: VmbusChannel) -> None: ...

    async def set_target_cpu(self, channel: VmbusChannel, cpu: Cpu) -> None:
        await vmbus_channel_set_cpu(channel, cpu)

    def on_modifychannel_response(self, response: ModifyChannelResponse) -> None:
        """Wake the writer who waits for it."""
        self._bus.requests.answer(ModifyChannel, response.relid, 0, response.status)


class ChannelIrqs:
    """The RFC: hwirq = relid in the linear domain ``hv-vmbus``, one IRQ per channel, handler data = the channel."""

    def __init__(self, bus: Vmbus) -> None:
        self._bus = bus
        core = bus.irq
        chip = IrqChip("VMBus", mask=_nothing, unmask=_nothing, set_affinity=vmbus_irq_set_affinity(bus))
        self.domain = IrqDomain(core, bus.core.memory, "hv-vmbus", core.register_chip(chip))
        self._handler = core.register_handler(_vmbus_chan_handler(bus.channels))
        revmap, memory = self.domain.revmap, bus.core.memory.words
        data, desc_size = core.tables.descs[0].base + IrqDesc.handler_data.offset, IrqDesc.size
        rescind, size = bus.tables.channels[0].base + ChannelWords.rescind.offset, ChannelWords.size
        unmapped = bus.counts.base + VmbusCpuWords.unmapped.offset
        rescinded = bus.counts.base + VmbusCpuWords.rescinded.offset
        unreached = bus.counts.base + VmbusCpuWords.unreached.offset
        generic_handle_irq_desc = cast(Callable[[int], None], core.generic_handle_irq_desc)

        def deliver(relid: int) -> None:
            irq = revmap[relid]
            channel = memory[data + irq * desc_size] if irq else 0
            if not channel:
                memory[unmapped] += 1
                memory[unreached + relid] += 1
            elif memory[rescind + channel * size]:
                memory[rescinded] += 1
                memory[unreached + relid] += 1
            else:
                generic_handle_irq_desc(irq)

        self.deliver: Callable[[int], None] = deliver

    def map(self, channel: VmbusChannel) -> bool:
        core = self._bus.irq
        irq = self.domain.create_mapping(channel.relid)
        if not irq:
            self._bus.printk(f"hv_vmbus: irq_create_mapping failed for relid {channel.relid}")
            return False
        channel.words.irq = irq
        core.set_handler_data(irq, channel.relid)
        core.modify_status(irq, set=IRQ_MOVE_PCNTXT)
        return True

    def unmap(self, channel: VmbusChannel) -> None:
        if channel.words.irq_requested:
            self.release(channel)
        self.domain.dispose_mapping(channel.relid)

    def forget(self, channel: VmbusChannel) -> None:
        irq, tables = Irq(channel.words.irq), self._bus.irq.tables
        if not irq:
            return
        desc, former = tables.descs[irq], self._bus.tables.former[channel.relid]
        former.irq_count += sum(column.counts[irq] for column in tables.kstat)
        former.irq_bad += desc.bad
        former.irq_uncounted += desc.dropped_in_progress + desc.pended - desc.replayed
        free_desc(self._bus.irq, irq)

    def request(self, channel: VmbusChannel) -> None:
        """request_irq, then affinity and hint to the target. The IRQ stays requested when the channel is closed, so
        the next open of the channel fails (the RFC as posted)."""
        core, words, irq = self._bus.irq, channel.words, Irq(channel.words.irq)
        try:
            request_irq(core, irq, self._handler, words.irq_name, channel.relid)
        except OSError as error:
            number = error.errno or errno.EINVAL
            self._bus.printk(f"hv_vmbus: request_irq failed with -{number} for relid {channel.relid} irq {irq}")
            raise VmbusError(number, f"IRQ {irq} cannot be requested") from None
        irq_set_affinity_and_hint(core, irq, 1 << words.target_cpu)
        words.irq_requested = 1

    def release(self, channel: VmbusChannel) -> None:
        irq = Irq(channel.words.irq)
        irq_update_affinity_hint(self._bus.irq, irq, 0)
        free_irq(self._bus.irq, irq)
        channel.words.irq_requested = 0

    def rename(self, channel: VmbusChannel) -> None:
        """Linux's IRQ core keeps a pointer to the channel's name."""
        if channel.words.irq_requested:
            self._bus.irq.desc(Irq(channel.words.irq)).action_name = channel.words.irq_name

    async def set_target_cpu(self, channel: VmbusChannel, cpu: Cpu) -> None:
        """Patch 10: the IRQ's affinity is set. What was looked at before has moved into the chip or was dropped."""
        async with self._bus.channel_mutex:
            if not channel.listed:
                raise VmbusError(errno.EIO, f"channel {channel.relid} is gone")
            irq_set_affinity(self._bus.irq, Irq(channel.words.irq), 1 << cpu)

    def on_modifychannel_response(self, response: ModifyChannelResponse) -> None:
        vmbus_onmodifychannel_response(self._bus, response)


def _vmbus_chan_handler(channels: ChannelTable) -> Handler:
    """The action of every channel's IRQ; always IRQ_HANDLED, even when the callback was NULL."""

    handlers, find = channels.handlers, channels.handler

    def action(irq: Irq, dev_id: int) -> bool:
        handler = handlers[dev_id] or find(dev_id)
        if handler is not None:
            handler()
        return True

    return action


def _nothing(desc: IrqDesc) -> None:
    """The SynIC cannot mask a single flag; without an operation the core would show the IRQ as masked (patch 7)."""
