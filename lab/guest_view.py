"""The guest's kernel memory as a reader outside it sees it: tables found by name, nobody stopped, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from guest.arch.smpboot import CpuMaskWords
from guest.files import guest_root
from guest.fs.node import Directory
from guest.irq.desc import IrqTables
from guest.irq.domain import LinearRevmap
from guest.kernel.memory import KernelMemory, Struct
from guest.kernel.oops import OopsEntry, Severity, said
from guest.kernel.smp import CallQueue
from guest.net.sysfs import NetTables
from guest.vmbus.words import ChannelState, ChannelWords, VmbusTables
from protocol.ids import Irq, Relid

S = TypeVar("S", bound=Struct)


class GuestView:
    """What a running guest has written down. Raises ``LookupError`` before its kernel has placed its tables."""

    def __init__(self, memory: KernelMemory) -> None:
        self.irq = IrqTables.find(memory)
        self.vmbus = VmbusTables.find(memory)
        self.net = NetTables.find(memory)
        self._oops = memory.find(OopsEntry)
        self._memory = memory
        self._masks = memory.find(CpuMaskWords)[0]
        self.call_queues = memory.find(CallQueue)

    def root(self, ram: memoryview) -> Directory:
        """/proc and /sys; ``ram`` is guest RAM as bytes."""
        return guest_root(self.irq, self.vmbus, self._masks, self.net, ram)

    @property
    def online(self) -> int:
        """``cpu_online_mask``."""
        return self._masks.online

    def channels(self) -> Iterator[tuple[Relid, ChannelWords]]:
        """The channels that exist, by relid."""
        for relid, words in enumerate(self.vmbus.channels):
            if words.live:
                yield Relid(relid), words

    def opened(self) -> Iterator[tuple[Relid, ChannelWords]]:
        """The channels that are in use."""
        return ((relid, words) for relid, words in self.channels() if words.state == ChannelState.OPENED)

    def said_of_modules(self, severity: Severity) -> list[str]:
        """What the guest has said of drivers from outside the tree."""
        return [text for each, text in said(self._oops) if each is severity]

    def irq_counts(self, irq: Irq) -> list[int]:
        """An IRQ's row of /proc/interrupts."""
        return [column.counts[irq] for column in self.irq.kstat]

    def mapped_relids(self) -> dict[int, int]:
        """The IRQ of each relid in the domain of the VMBus; empty under a design that has none."""
        try:
            revmap = self._memory.find(LinearRevmap)[0].irqs
        except LookupError:
            return {}
        return {relid: irq for relid, irq in enumerate(revmap) if irq}

    def driven_by_tree(self, words: ChannelWords) -> bool:
        """The channel's device has a driver, and none from outside the tree, whose words are its own affair."""
        driver = (self.vmbus.channels[words.primary_relid] if words.primary_relid else words).driver
        return bool(driver and not self.vmbus.drivers[driver - 1].outside)

    def driver_words(self, words: ChannelWords, struct: type[S]) -> S:
        """A channel's driver area, in the shape that its driver declared."""
        return struct(words.memory, words.base + ChannelWords.driver_area.offset)
