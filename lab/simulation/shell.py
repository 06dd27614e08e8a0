"""What the simulation puts where processes have sockets, clocks and files."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Sequence

from guest.kernel.locks import Held
from host.vsp.storage.backend import Moved
from lab.simulation.hub import Hub, TimerEntry, Wait
from protocol.port.envelope import ToHost, read_to_host
from protocol.port.vp_port import VpPort

DISK_SECONDS = 0.0001
"""Virtual time that a request of the simulated disk takes."""

WALL_CLOCK_AT_START = 133_500_000_000_000_000
"""An arbitrary fixed date in 2024: the simulation must not depend on today's."""


class SimulatedClock:
    """Virtual time for a CPU or for the host. ``enter`` runs what expires in the owner's context."""

    def __init__(self, hub: Hub, enter: Callable[[Callable[[], None]], None]) -> None:
        self._hub = hub
        self._enter = enter

    def now(self) -> int:
        return self._hub.time

    def wall_clock(self) -> int:
        return WALL_CLOCK_AT_START + self._hub.time

    def call_later(self, seconds: float, then: Callable[[], None]) -> TimerEntry:
        return self._hub.call_later(seconds, lambda: self._enter(then))


class SimulatedLink:
    """The two queues between the host and one VP: first in, first out each, and in no order to those of other VPs."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.to_host: deque[bytes] = deque()
        self.to_port: deque[bytes] = deque()
        self.port: VpPort | None = None
        self.held: Held | None = None
        """The spin locks of the VP's CPU."""
        self._hub = hub
        self._arrived = False
        hub.add_delivery(name, lambda: bool(self.to_port), self.deliver)

    def deliver(self) -> None:
        """An envelope arrives at the port: it sets bits and wakes whoever is in a call."""
        assert self.port is not None
        self.port.receive(self.to_port.popleft())
        self._arrived = True

    # The Wire of the port.

    def send(self, data: bytes) -> None:
        self.to_host.append(data)
        if read_to_host(data)[2] in (ToHost.REGISTER, ToHost.RESET) and self.held is not None:
            # Only the status of a hypercall is never withheld.
            assert not self.held.count, "a CPU waits for the host while holding a spin lock"

    def wait(self) -> None:
        self._arrived = False
        self._hub.block(Wait("the answer to its call", lambda: self._arrived))


class MappedDisk:
    """A disk image mapped into memory; requests complete after a fixed virtual time, in the order of their times."""

    def __init__(self, hub: Hub, enter: Callable[[Callable[[], None]], None], path: str, writable: bool) -> None:
        with open(path, "r+b" if writable else "rb") as image:
            self.data = mmap.mmap(image.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        self.size = len(self.data)
        self.read_only = not writable
        self._hub = hub
        self._enter = enter

    def read(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def move() -> None:
            at = offset
            for view in views:
                chunk = self.data[at : at + len(view)]
                view[: len(chunk)] = chunk
                at += len(chunk)
            done(at - offset)

        self._later(move)

    def write(self, offset: int, views: Sequence[memoryview], done: Moved) -> None:
        def move() -> None:
            at = offset
            for view in views:
                self.data[at : at + len(view)] = view
                at += len(view)
            done(at - offset)

        self._later(move)

    def flush(self, done: Moved) -> None:
        self._later(lambda: done(0))

    def _later(self, work: Callable[[], None]) -> None:
        self._hub.call_later(DISK_SECONDS, lambda: self._enter(work))
