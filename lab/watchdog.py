"""The watchdog: tells that an interrupt or a message was lost, and changes nothing.

It looks at the shared memories from outside. A channel is stranded if its host-to-guest ring holds data, and neither
the guest reads (the read index stands still) nor anything is under way that would make it look (a flag set, a tasklet
scheduled), for longer than any guest needs. Nothing in the VM looks again by itself, so it never ends. What else is
waited for (answers of the host, other CPUs, a program's next step) has longer, and is named when that is over.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from guest.vmbus.words import ChannelWords
from lab.failure import VmFailure
from lab.guest_view import GuestView
from lab.stalls import Awaited, awaited
from protocol.errors import ExitCode
from protocol.ids import PAGE_SIZE, Relid

STRANDED_SECONDS = 2.0
STALL_SECONDS = 10.0
"""Longer than a host or a CPU takes to answer, however busy the machine is."""
LOOK_SECONDS = 0.1
"""How often to look, while something is waited for."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """A channel that nobody will ever look at again."""

    relid: Relid
    name: str
    target_cpu: int
    bytes_waiting: int

    def __str__(self) -> str:
        return (
            f"channel {self.relid} ({self.name}) is stranded: {self.bytes_waiting} bytes wait in its ring, "
            f"and no interrupt is on its way to CPU {self.target_cpu}"
        )


class Watchdog:
    """Call ``look`` now and then with the time; it names a channel that has not moved since ``STRANDED_SECONDS``."""

    def __init__(self, guest: GuestView, ram: memoryview) -> None:
        self._guest = guest
        self._ram = ram
        self._still: dict[Relid, tuple[tuple[int, ...], float]] = {}
        self._since: dict[Hashable, float] = {}

    def look(self, now: float) -> Stranded | None:
        """The first stranded channel, if there is one."""
        for relid, words in self._guest.opened():
            state = self._state(relid, words)
            if state is None:
                self._still.pop(relid, None)
                continue
            before = self._still.get(relid)
            if before is None or before[0] != state:
                self._still[relid] = (state, now)
            elif now - before[1] >= STRANDED_SECONDS:
                return Stranded(relid, words.irq_name, words.target_cpu, state[0])
        return None

    def stalled(self, now: float, *also: Awaited) -> str | None:
        """What has been waited for since ``STALL_SECONDS``; ``also`` by the caller."""
        waits = [*awaited(self._guest), *also]
        self._since = {wait.key: self._since.get(wait.key, now) for wait in waits}
        for wait in waits:
            if now - self._since[wait.key] >= STALL_SECONDS:
                return f"waiting for {wait.what} for {STALL_SECONDS:.0f} s"
        return None

    def check(self, now: float, *also: Awaited) -> None:
        """``look`` and ``stalled``, with what they find as the ``VmFailure`` that ends a run."""
        found = self.look(now) or self.stalled(now, *also)
        if found is not None:
            raise VmFailure(ExitCode.STRANDED, str(found))

    def _state(self, relid: Relid, words: ChannelWords) -> tuple[int, ...] | None:
        """What would change if anything went on: (bytes waiting, indices, interrupts), None if nothing waits."""
        if not words.callback:
            return None  # closed meanwhile, or its driver is dead: the guest has said so
        first, pages = words.ring_pfn + words.send_pages, words.ring_pages - words.send_pages
        control = self._ram[first * PAGE_SIZE :][:16].cast("I")
        write, read = control[0], control[1]
        if write == read or self._guest.vmbus.callback_events[relid].scheduled:
            return None
        waiting = (write - read) % ((pages - 1) * PAGE_SIZE)
        return waiting, read, words.interrupts
