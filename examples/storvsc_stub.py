"""The beginning of storvsc: agree with the host on a version and on limits, then do nothing.

    ./launch.sh run --driver examples/storvsc_stub.py

The stub has the SCSI controller instead of the driver of the tree, so the guest has no disk. After
``storvsc_channel_init`` in drivers/scsi/storvsc_drv.c; the packets are those of ``protocol.wire.vstor``.
"""

import errno

from guest.driver_api import (
    COMPLETION_REQUESTED,
    PAGE_SIZE,
    Bytes,
    CallbackMode,
    CompletionWords,
    HvDriver,
    Packet,
    VmbusChannel,
    VmbusDevice,
    VmbusError,
    Word,
)
from protocol.wire.guids import HV_SCSI_GUID
from protocol.wire.vstor import PACKET_SIZE, VERSIONS, Operation, Properties, ProtocolVersion, VstorPacket

RING_BYTES = 32 * PAGE_SIZE
STEP_SECONDS = 5.0


class StubWords(CompletionWords):
    """The completion is for the answer to the step that is under way."""

    answer = Bytes(PACKET_SIZE, "channel callback")
    version = Word("probe")
    max_transfer = Word("probe")
    """Bytes."""


class StorvscStub(HvDriver):
    """Shakes hands and keeps the channel open."""

    name = "storvsc_stub"
    id_table = (HV_SCSI_GUID,)

    async def probe(self, device: VmbusDevice) -> None:
        channel = device.channel
        words = channel.state(StubWords)
        channel.set_read_mode(CallbackMode.BATCHED)
        channel.irq_name = "storvsc_stub"
        await channel.open(RING_BYTES, RING_BYTES)
        try:
            await self._step(channel, VstorPacket(Operation.BEGIN_INITIALIZATION))
            words.version = VERSIONS[0]
            await self._step(
                channel, VstorPacket(Operation.QUERY_PROTOCOL_VERSION, body=ProtocolVersion(VERSIONS[0]).encode())
            )
            answer = await self._step(channel, VstorPacket(Operation.QUERY_PROPERTIES))
            words.max_transfer = Properties.decode(answer.body).max_transfer_bytes
            await self._step(channel, VstorPacket(Operation.END_INITIALIZATION))
        except VmbusError:
            await channel.close()
            raise
        version = f"{words.version >> 8}.{words.version & 0xFF}"
        self.bus.printk(f"storvsc_stub: version {version}, {words.max_transfer} bytes in a request")

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    async def _step(self, channel: VmbusChannel, question: VstorPacket) -> VstorPacket:
        """Ask, and wait for the answer, which may come to another CPU."""
        words = channel.state(StubWords)
        answered = self.core.completion(words)
        answered.reinit()
        channel.send_packet(question.encode(), transaction_id=1, flags=COMPLETION_REQUESTED)
        if not await answered.wait_timeout(STEP_SECONDS):
            raise VmbusError(errno.ETIMEDOUT, f"no answer to operation {question.operation}")
        answer = VstorPacket.decode(words.answer)
        if answer.status:
            raise VmbusError(errno.EINVAL, f"operation {question.operation} answered with {answer.status:#x}")
        return answer

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        words = channel.state(StubWords)

        def take(packet: Packet) -> None:
            if packet.transaction_id:  # 0: something that the host says unasked
                words.answer = bytes(packet.payload[:PACKET_SIZE])
                self.core.completion(words).complete()

        channel.receive(take)
