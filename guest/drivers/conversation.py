"""What the small drivers share: they ask the host while they are probed, and after that mostly listen."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from guest.kernel.memory import Word
from guest.kernel.wait import WaitWords
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import CallbackMode
from protocol.errors import PeerError
from protocol.ring import Packet, PacketType
from protocol.wire.layout import Readable


class ConversationWords(WaitWords):
    """What such a driver keeps of its channel. The wait queue is that of its probe."""

    illegal = Word("channel callback; who moves pages of the balloon")
    """Too short, or of a type that the host does not send: logged by the kernel and dropped."""


W = TypeVar("W", bound=ConversationWords)


@asynccontextmanager
async def opened(channel: VmbusChannel, ring_bytes: int) -> AsyncIterator[None]:
    """Open a channel for a conversation with its device; it is closed again if that fails."""
    channel.set_read_mode(CallbackMode.BATCHED)
    await channel.open(ring_bytes, ring_bytes)
    try:
        yield
    except VmbusError:
        await channel.close()
        raise


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


class ConversingDriver(HvDriver, Generic[W]):
    """A driver to whom only what comes in band means anything; a completion says nothing."""

    words: type[W]

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        words = channel.state(self.words)

        def take(packet: Packet) -> None:
            if packet.type == PacketType.IN_BAND:
                try:
                    self.receive(channel, words, packet.payload)
                except PeerError:
                    words.illegal += 1

        channel.receive(take)

    @abstractmethod
    def receive(self, channel: VmbusChannel, words: W, payload: Readable) -> None:
        """One message of the host, in softirq context. A PeerError counts it as illegal."""

    def rescinded(self, channel: VmbusChannel) -> None:
        """A probe that waits for the host looks again."""
        answered(channel, channel.state(WaitWords))
