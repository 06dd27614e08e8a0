"""Rings in real memory, mapped as the processes map them."""

from collections.abc import Callable, Iterator

import pytest

from protocol.ids import PAGE_SIZE
from protocol.ring import Packet, RingMemory, RingReader, RingWriter
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam


class Channel:
    """One direction of a channel with both of its ends in this process."""

    def __init__(self, ring: RingMemory) -> None:
        ring.init()
        self.ring = ring
        self.writer = RingWriter(ring, full_fence)
        self.reader = RingReader(ring, full_fence)

    def send(self, *payloads: bytes) -> bool:
        """Write and publish; says whether to signal."""
        for number, payload in enumerate(payloads):
            assert self.writer.put(6, payload, number)
        return self.writer.commit()

    def receive(self) -> list[Packet]:
        """Read and release everything that is published."""
        packets: list[Packet] = []
        self.reader.drain(packets.append)
        self.reader.release()
        return packets

    def start_at(self, index: int) -> None:
        """An empty ring that has come round to ``index``."""
        self.ring.control[0] = self.ring.control[1] = index


@pytest.fixture
def make_channel() -> Iterator[Callable[[int], Channel]]:
    """Makes channels with so many data pages."""
    rams: list[GuestRam] = []

    def make(data_pages: int = 1) -> Channel:
        ram = GuestRam.create((data_pages + 1) * PAGE_SIZE, "test-ring")
        rams.append(ram)
        return Channel(ram.ring(range(ram.pages)))

    yield make
    for ram in rams:
        ram.close()


@pytest.fixture
def channel(make_channel: Callable[[int], Channel]) -> Channel:
    """The smallest ring there is: 4096 bytes."""
    return make_channel(1)
