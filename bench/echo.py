"""A device that sends packets, and the driver that sends each one back: the smallest use of a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.words import CallbackMode
from host.vsp.device import Offer, VspChannel
from host.vsp.endpoint import Endpoint
from protocol.errors import OperatorError, PeerError
from protocol.ids import PAGE_SIZE
from protocol.ring import Packet, PacketType

ECHO_CLASS = UUID("2f3c7a10-54c2-4f0c-9d6e-8a1f4be0c6d1")
RING_BYTES = 9 * PAGE_SIZE


class EchoVsp:
    """The host's end. ``opened`` is called when the guest has opened the channel, ``back`` for each packet from it."""

    def __init__(self, instance: int, opened: Callable[[], None], back: Callable[[Packet], None]) -> None:
        self.offer = Offer(ECHO_CLASS, UUID(int=ECHO_CLASS.int + instance))
        self._opened = opened
        self._back = back
        self._endpoint: Endpoint | None = None

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self._endpoint = Endpoint(channel, self._back, _fail)
        self._opened()

    def close(self, done: Callable[[], None]) -> None:
        self._endpoint = None
        done()

    def doorbell(self) -> None:
        if self._endpoint is not None:
            self._endpoint.look()

    def counts(self) -> dict[str, int]:
        return {}

    def post(self, payload: bytes, number: int) -> None:
        """Send a packet to the guest."""
        assert self._endpoint is not None
        self._endpoint.post(PacketType.IN_BAND, payload, number)


class EchoDriver(HvDriver):
    """The guest's end. It reads inside the interrupt, as drivers do that must answer fast."""

    name = "echo"
    id_table = (ECHO_CLASS,)
    read_mode: ClassVar[CallbackMode] = CallbackMode.ISR

    async def probe(self, device: VmbusDevice) -> None:
        device.channel.set_read_mode(self.read_mode)
        await device.channel.open(RING_BYTES, RING_BYTES)

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        def back(packet: Packet) -> None:
            if not channel.send_packet(bytes(packet.payload), packet.transaction_id):
                raise RuntimeError("the echo does not fit into the ring")

        channel.receive(back)


class TaskletEchoDriver(EchoDriver):
    """The same in a tasklet, with the host's signals masked meanwhile: what most drivers do, and storvsc."""

    read_mode = CallbackMode.BATCHED


def _fail(error: PeerError | OperatorError) -> None:
    raise error
