"""Two real processes, a ring that is full or empty most of the time, and doorbells that nobody sends twice."""

import os
import select
from multiprocessing import get_context

from protocol.ids import PAGE_SIZE
from protocol.ring import Packet, RingMemory, RingReader, RingWriter, ring_bytes
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam

PACKETS = 100_000
STALL = 20_000
"""Milliseconds. Nothing else ends a sleep, so a lost wake-up is a failure and not a delay."""


def payload(number: int) -> bytes:
    """Another length each time, up to 232 bytes."""
    return number.to_bytes(8, "little") * (1 + number % 29)


def sleep(bell: int) -> None:
    """Until it rings; takes all the rings there are."""
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    if not poll.poll(STALL):
        raise TimeoutError("lost wake-up")
    os.eventfd_read(bell)


def write(ring: RingMemory, room: int, packets: int) -> None:
    """Batches of 1 to 7, and the bell only when commit() says so."""
    writer = RingWriter(ring, full_fence)
    for number in range(PACKETS):
        while not writer.put(6, payload(number), number):
            if writer.commit():
                os.eventfd_write(packets, 1)
            if not writer.want(ring_bytes(len(payload(number)))):
                sleep(room)
        if number % 7 in (0, 2, 6) and writer.commit():
            os.eventfd_write(packets, 1)
    if writer.commit():
        os.eventfd_write(packets, 1)


def test_100000_packets_arrive_whole_and_in_order() -> None:
    ram = GuestRam.create(8 * PAGE_SIZE, "two-processes")
    ring = ram.ring([7, 1, 3])
    ring.init()
    room, packets = os.eventfd(0), os.eventfd(0)
    process = get_context("fork").Process(target=write, args=(ring, room, packets))
    process.start()
    reader = RingReader(ring, full_fence)
    came = wrong = 0

    def take(packet: Packet) -> None:
        nonlocal came, wrong
        wrong += packet != (6, 0, came, b"", payload(came))
        came += 1

    try:
        while came < PACKETS:
            reader.mask()
            reader.drain(take)
            if reader.release():
                os.eventfd_write(room, 1)
            if not reader.unmask() and came < PACKETS:
                sleep(packets)
    finally:
        if came < PACKETS:
            process.terminate()
        process.join()
        os.close(room)
        os.close(packets)
        ram.close()
    assert (came, wrong, process.exitcode) == (PACKETS, 0, 0)
