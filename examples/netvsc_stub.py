"""The beginning of netvsc: agree with the host on a version of NVSP, and lend it a receive buffer.

    ./launch.sh run --driver examples/netvsc_stub.py        in a VM with a NIC

After ``netvsc_connect_vsp`` in drivers/net/hyperv/netvsc.c. The rest of a driver is the send buffer, RNDIS, and packets
of frames; the messages are those of ``protocol.wire.nvsp``.
"""

import errno

from guest.driver_api import (
    COMPLETION_REQUESTED,
    PAGE_SIZE,
    Bytes,
    CallbackMode,
    CompletionWords,
    GpadlId,
    HvDriver,
    Packet,
    PacketType,
    Pfn,
    VmbusChannel,
    VmbusDevice,
    VmbusError,
    Word,
)
from protocol.wire import nvsp
from protocol.wire.guids import HV_NIC_GUID
from protocol.wire.nvsp_numbers import MESSAGE_SIZE, NvspStatus, NvspVersion

RING_BYTES = 32 * PAGE_SIZE
BUFFER_PAGES = 64
STEP_SECONDS = 5.0


class StubWords(CompletionWords):
    """The completion is for the answer to the step that is under way."""

    answer = Bytes(MESSAGE_SIZE, "channel callback")
    version = Word("probe")
    buffer = Word("probe")
    """First page of the receive buffer."""
    gpadl = Word("probe")
    sections = Word("probe")
    """Pieces into which the host has cut it."""


class NetvscStub(HvDriver):
    """Gets as far as a buffer into which the host may write."""

    name = "netvsc_stub"
    id_table = (HV_NIC_GUID,)

    async def probe(self, device: VmbusDevice) -> None:
        channel = device.channel
        words = channel.state(StubWords)
        channel.set_read_mode(CallbackMode.BATCHED)
        channel.irq_name = "netvsc_stub"
        await channel.open(RING_BYTES, RING_BYTES)
        try:
            words.version = await self._agree(channel)
            channel.send_packet(nvsp.NdisVersion(6, 30).encode())
            await self._lend_buffer(channel)
        except VmbusError:
            await self.remove(device)
            raise
        self.bus.printk(f"netvsc_stub: NVSP {words.version:#x}, {words.sections} sections")

    async def remove(self, device: VmbusDevice) -> None:
        channel = device.channel
        words = channel.state(StubWords)
        if words.gpadl and not channel.words.rescind:
            channel.send_packet(nvsp.RevokeReceiveBuffer().encode())
        await channel.close()
        if words.gpadl:
            await channel.teardown_gpadl(GpadlId(words.gpadl))
        if words.buffer:
            self.core.pages.free(Pfn(words.buffer), BUFFER_PAGES)
        words.gpadl = words.buffer = 0

    async def _agree(self, channel: VmbusChannel) -> int:
        """``negotiate_nvsp_ver``: ask for one version after the other, the newest first."""
        for version in reversed(NvspVersion):
            answer = nvsp.InitComplete.decode(await self._ask(channel, nvsp.Init(version, version)))
            if answer.status == NvspStatus.SUCCESS:
                return version
        raise VmbusError(errno.EPROTO, "the host speaks none of our versions")

    async def _lend_buffer(self, channel: VmbusChannel) -> None:
        """``netvsc_init_buf``, its first half."""
        words = channel.state(StubWords)
        words.buffer = self.core.pages.allocate(BUFFER_PAGES)
        words.gpadl = gpadl = await channel.establish_gpadl(Pfn(words.buffer), BUFFER_PAGES)
        answer = nvsp.ReceiveBufferComplete.decode(await self._ask(channel, nvsp.ReceiveBuffer(gpadl)))
        if answer.status != NvspStatus.SUCCESS:
            raise VmbusError(errno.EINVAL, f"the host does not want the buffer: {answer.status}")
        words.sections = answer.sub_allocs

    async def _ask(self, channel: VmbusChannel, question: nvsp.NvspMessage) -> bytes:
        """Send, and wait for the completion, which may come to another CPU."""
        words = channel.state(StubWords)
        answered = self.core.completion(words)
        answered.reinit()
        channel.send_packet(question.encode(), transaction_id=1, flags=COMPLETION_REQUESTED)
        if not await answered.wait_timeout(STEP_SECONDS):
            raise VmbusError(errno.ETIMEDOUT, f"no answer to {type(question).__name__}")
        return words.answer

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        words = channel.state(StubWords)

        def take(packet: Packet) -> None:
            if packet.type == PacketType.COMPLETION:
                words.answer = bytes(packet.payload[:MESSAGE_SIZE])
                self.core.completion(words).complete()

        channel.receive(take)
