"""A driver of one's own: it sends every packet back. Its device is examples/echo_device.py.

./launch.sh run --driver examples/echo.py --device examples/echo_device.py
"""

from uuid import UUID

from guest.driver_api import PAGE_SIZE, CallbackMode, HvDriver, Packet, Struct, VmbusChannel, VmbusDevice, Word

ECHO_GUID = UUID("5f2b0c8e-7d4a-4b1e-9a36-0c6d2e8f4b11")
RING_BYTES = 4 * PAGE_SIZE


class EchoWords(Struct):
    """What the driver remembers of a channel, in memory that all CPUs share."""

    echoed = Word("channel callback")
    unsent = Word("channel callback")


class Echo(HvDriver):
    """Each packet goes back as it came."""

    name = "echo"
    id_table = (ECHO_GUID,)

    async def probe(self, device: VmbusDevice) -> None:
        """Process context, on the connect CPU: may wait for the host's answer."""
        channel = device.channel
        channel.set_read_mode(CallbackMode.BATCHED)
        channel.irq_name = "echo"
        await channel.open(RING_BYTES, RING_BYTES)

    async def remove(self, device: VmbusDevice) -> None:
        """The device has been taken away."""
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """A tasklet, on whichever CPU the channel interrupts: may not wait."""
        words = channel.state(EchoWords)

        def echo(packet: Packet) -> None:
            if channel.send_packet(bytes(packet.payload), packet.transaction_id):
                words.echoed += 1
            else:
                words.unsent += 1

        channel.receive(echo)
