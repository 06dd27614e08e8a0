"""No order of events, and no delay of a store, leaves both sides asleep; each safeguard that is taken away does."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.ring import RingReader, RingWriter, ring_bytes
from tests.ring.conftest import Channel
from tests.ring.race import Choose, Cpu, every_order, run

PACKETS = 2


def no_fence() -> None:
    """The mistake: a plain store, then a plain load."""


class ForgetsToLookAgain(RingReader):
    """Believes that nothing came while it was masked."""

    def unmask(self) -> bool:
        super().unmask()
        return False


class SleepsAtOnce(RingWriter):
    """Believes that no room came while it stored its wish."""

    def want(self, length: int) -> bool:
        super().want(length)
        self._ring.control[3] = length
        return False


def packets_arrive(
    channel: Channel,
    choose: Choose,
    reader_kind: type[RingReader] = RingReader,
    writer_fences: bool = True,
    reader_fences: bool = True,
) -> bool:
    """The writer publishes packets one by one and ends; the reader sleeps whenever the ring is empty."""
    channel.start_at(4096 - 32)
    channel.ring.control[2] = 0
    sender, receiver = Cpu.of(channel.ring), Cpu.of(channel.ring)
    writer = RingWriter(sender.memory, sender.fence if writer_fences else no_fence, sender.point)
    reader = reader_kind(receiver.memory, receiver.fence if reader_fences else no_fence, receiver.point)
    came: list[Any] = []

    def send() -> None:
        for number in range(PACKETS):
            writer.put(6, b"packet", number)
            if writer.commit():
                sender.ring(receiver)

    def receive() -> None:
        while len(came) < PACKETS:
            reader.mask()
            reader.drain(came.append)
            reader.release()
            if not reader.unmask() and len(came) < PACKETS:
                receiver.sleep()

    return run(sender, receiver, (send, receive), choose)


def room_returns(
    channel: Channel,
    choose: Choose,
    writer_kind: type[RingWriter] = RingWriter,
    writer_fences: bool = True,
    reader_fences: bool = True,
) -> bool:
    """The ring is full; the reader takes packet after packet and ends; the writer needs the room of two of them."""
    channel.start_at(0)
    channel.ring.control[3] = 0
    count = 0
    while channel.writer.put(6, bytes(1000)):
        count += 1
    channel.writer.commit()
    sender, receiver = Cpu.of(channel.ring), Cpu.of(channel.ring)
    writer = writer_kind(sender.memory, sender.fence if writer_fences else no_fence, sender.point)
    reader = RingReader(receiver.memory, receiver.fence if reader_fences else no_fence, receiver.point)

    def send() -> None:
        while not writer.put(6, bytes(1500)):
            if not writer.want(ring_bytes(1500)):
                sender.sleep()

    def receive() -> None:
        for _ in range(count):
            reader.drain(lambda packet: None, limit=1)
            if reader.release():
                receiver.ring(sender)

    return run(sender, receiver, (send, receive), choose)


@pytest.mark.parametrize("scenario", [packets_arrive, room_returns])
def test_no_order_of_events_loses_a_wake_up(channel: Channel, scenario: Callable[..., bool]) -> None:
    results = list(every_order(lambda choose: scenario(channel, choose)))
    assert len(results) > 50
    assert all(results)


@pytest.mark.parametrize("scenario", [packets_arrive, room_returns])
@pytest.mark.parametrize("mistake", [{"writer_fences": False}, {"reader_fences": False}])
def test_a_fence_is_needed_on_either_side(
    channel: Channel, scenario: Callable[..., bool], mistake: dict[str, bool]
) -> None:
    assert not all(every_order(lambda choose: scenario(channel, choose, **mistake)))


def test_a_reader_that_does_not_look_again_after_unmasking_sleeps_for_ever(channel: Channel) -> None:
    assert not all(every_order(lambda choose: packets_arrive(channel, choose, reader_kind=ForgetsToLookAgain)))


def test_a_writer_that_does_not_look_again_after_its_wish_sleeps_for_ever(channel: Channel) -> None:
    assert not all(every_order(lambda choose: room_returns(channel, choose, writer_kind=SleepsAtOnce)))
