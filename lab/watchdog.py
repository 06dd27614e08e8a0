"""The watchdog: tells that an interrupt or a message was lost, and changes nothing.

It looks at the shared memories from outside. A channel is stranded if its host-to-guest ring holds data, and neither
the guest reads (the read index stands still) nor anything is under way that would make it look (a flag set, a tasklet
scheduled), for longer than any guest needs. Nothing in the VM looks again by itself, so it never ends. What else is
waited for (answers of the host, other CPUs, a program's next step) has longer, and is named when that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

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
    dropped: bool
    """An interrupt of its was dropped just before, its IRQ being in progress on another CPU: R8."""

    def __str__(self) -> str:
        return (
            f"channel {self.relid} ({self.name}) is stranded: {self.bytes_waiting} bytes wait in its ring, "
            f"and no interrupt is on its way to CPU {self.target_cpu}"
            + ("; R8: one was dropped, because its IRQ was in progress on another CPU" if self.dropped else "")
        )


class Seen(NamedTuple):
    """A channel at the first of the looks since which nothing has gone on."""

    progress: tuple[int, ...]
    """What would change: the read index and the interrupts; empty if nothing waits."""
    since: float
    dropped: int
    """Of its interrupts, until then."""
    dropped_before: int
    """Until the look before."""


class Watchdog:
    """Call ``check`` now and then with the time; it names a channel that has not moved since ``STRANDED_SECONDS``.

    ``tolerate`` is told of each as long as it is there; True: whoever answers sees to it.
    """

    def __init__(self, guest: GuestView, ram: memoryview) -> None:
        self.tolerate: Callable[[Stranded], bool] = lambda stranded: False
        self._guest = guest
        self._ram = ram
        self._seen: dict[Relid, Seen] = {}
        self._since: dict[Hashable, float] = {}

    def look(self, now: float) -> list[Stranded]:
        """The stranded channels."""
        found, seen = [], {}
        for relid, words in self._guest.opened():
            waiting, progress = self._waiting(relid, words)
            dropped = self._guest.irq.descs[words.irq].dropped_in_progress
            before = self._seen.get(relid)
            if before is None or not progress or progress != before.progress:
                before = Seen(progress, now, dropped, before.dropped if before else dropped)
            elif now - before.since >= STRANDED_SECONDS:
                found.append(
                    Stranded(relid, words.irq_name, words.target_cpu, waiting, dropped > before.dropped_before)
                )
            seen[relid] = before
        self._seen = seen
        return found

    @property
    def unread(self) -> bool:
        """Some channel has data that the guest has not read."""
        return any(self._waiting(relid, words)[0] for relid, words in self._guest.opened())

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
        left = [stranded for stranded in self.look(now) if not self.tolerate(stranded)]
        found = left[0] if left else self.stalled(now, *also)
        if found is not None:
            raise VmFailure(ExitCode.STRANDED, str(found))

    def _waiting(self, relid: Relid, words: ChannelWords) -> tuple[int, tuple[int, ...]]:
        """How many bytes wait in the ring, and what would change if anything went on."""
        if not words.callback:
            return 0, ()  # closed meanwhile, or its driver is dead: the guest has said so
        first, pages = words.ring_pfn + words.send_pages, words.ring_pages - words.send_pages
        control = self._ram[first * PAGE_SIZE :][:16].cast("I")
        write, read = control[0], control[1]
        if write == read or self._guest.vmbus.callback_events[relid].scheduled:
            return 0, ()
        return (write - read) % ((pages - 1) * PAGE_SIZE), (read, words.interrupts)
