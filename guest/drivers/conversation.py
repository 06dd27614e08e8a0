"""What the small drivers do while they are probed: ask the host, and wait for its answer with a time limit."""

from __future__ import annotations

import errno
from collections.abc import Callable

from guest.kernel.wait import WaitWords
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver
from guest.vmbus.errors import VmbusError


def send(channel: VmbusChannel, payload: bytes, transaction_id: int = 0, flags: int = 0) -> None:
    """``vmbus_sendpacket`` for a caller that does not try again. Raises VmbusError: EAGAIN if the ring is full."""
    if not channel.send_packet(payload, transaction_id, flags=flags):
        raise VmbusError(errno.EAGAIN, f"channel {channel.relid}: no room in the ring")


async def answer(channel: VmbusChannel, words: WaitWords, condition: Callable[[], bool], seconds: float) -> None:
    """``wait_for_completion_timeout``: return when the callback has made the condition true.

    The words are the driver's own of this channel, so that any CPU can take the answer. Raises VmbusError: ETIMEDOUT,
    ENODEV (rescinded; Linux waits for the time-out).
    """
    queue, state = channel.bus.core.wait_queue(words), channel.words
    if not await queue.wait_event_timeout(lambda: condition() or state.rescind != 0, seconds):
        raise VmbusError(errno.ETIMEDOUT, f"channel {channel.relid}: no answer in {seconds:.0f} s")
    if state.rescind:
        raise VmbusError(errno.ENODEV, f"channel {channel.relid} was rescinded")


def answered(channel: VmbusChannel, words: WaitWords) -> None:
    """``complete``, from the callback: the condition has been made true before."""
    channel.bus.core.wait_queue(words).wake_up()


class ConversingDriver(HvDriver):
    """A driver whose words of a channel begin with the wait queue of its probe."""

    def rescinded(self, channel: VmbusChannel) -> None:
        """A probe that waits for the host looks again."""
        answered(channel, channel.state(WaitWords))
