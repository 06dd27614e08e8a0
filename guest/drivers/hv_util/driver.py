"""hv_utils: one driver for all integration services, each a channel of its own (drivers/hv/hv_util.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from guest.drivers.hv_util.heartbeat import HeartbeatService
from guest.drivers.hv_util.kvp import KvpService
from guest.drivers.hv_util.negotiate import choose, encode_choice
from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.drivers.hv_util.shutdown import ShutdownService
from guest.drivers.hv_util.timesync import TimesyncService
from guest.drivers.hv_util.vss import VssService
from guest.kernel.core import Core
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.words import CallbackMode
from protocol.errors import PeerError
from protocol.ring import Packet
from protocol.wire import pipe
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_KVP_GUID, HV_SHUTDOWN_GUID, HV_TS_GUID, HV_VSS_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcVersion, Negotiate
from protocol.wire.layout import Readable

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

RING_SIZE: Final = 16 * 1024
"""``HV_UTIL_RING_SEND_SIZE``: three pages of data behind the control page, each way."""


class HvUtils(HvDriver):
    """Answers what the host asks. Its callback runs on whatever CPU the channel interrupts.

    Simplified: the daemons of key-value pairs and backups are part of the services, and answer at once; no file copy is
    there; a callback takes all packets that have come, where most services take one (the host waits for the answer).
    """

    name = "hv_utils"
    id_table = (HV_SHUTDOWN_GUID, HV_TS_GUID, HV_HEART_BEAT_GUID, HV_KVP_GUID, HV_VSS_GUID)

    def __init__(self, core: Core, bus: Vmbus) -> None:
        super().__init__(core, bus)
        self.heartbeat = HeartbeatService()
        self.timesync = TimesyncService(core)
        self.shutdown = ShutdownService(core)
        services: tuple[UtilService[Any], ...] = (
            self.heartbeat,
            self.timesync,
            self.shutdown,
            KvpService(core),
            VssService(),
        )
        self._services = {service.class_id: service for service in services}

    async def probe(self, device: VmbusDevice) -> None:
        """``util_probe``: direct mode, because every message is answered and there is nothing to batch."""
        device.channel.set_read_mode(CallbackMode.DIRECT)
        await device.channel.open(RING_SIZE, RING_SIZE)

    async def remove(self, device: VmbusDevice) -> None:
        """``util_remove``."""
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        """``util_cb`` of the service that the channel belongs to."""
        service = self._services[channel.offer.class_id]
        words = channel.state(service.words)
        channel.receive(lambda packet: self._take(channel, service, words, packet))

    def _take(self, channel: VmbusChannel, service: UtilService[Any], words: UtilWords, packet: Packet) -> None:
        try:
            frame = IcFrame.decode(packet.payload)
            if frame.message_type == IcMessage.NEGOTIATE:
                reply = Reply(self._negotiate(service, words, frame))
            elif frame.message_type == service.message_type:
                reply = service.respond(words, frame)
                words.answered += 1
            else:
                words.rejected += 1
                return
        except PeerError:
            words.rejected += 1
            return
        answer = _write_over(packet.payload, frame.answer(reply.body, reply.status).encode())
        if not channel.send_packet(answer, packet.transaction_id):
            words.unsent += 1
        if reply.then is not None:
            reply.then()

    @staticmethod
    def _negotiate(service: UtilService[Any], words: UtilWords, frame: IcFrame) -> bytes:
        choice = choose(Negotiate.decode(frame.body), service.versions)
        words.framework = _packed(choice.frameworks)
        words.version = _packed(choice.messages)
        return encode_choice(choice)


def _write_over(payload: Readable, answer: bytes) -> bytes:
    """The answer is written into the buffer that the question came in, and all of that goes back.

    So the pipe header still has the length of the question, and what the answer does not cover goes back too: the
    versions that the host offered.
    """
    head = pipe.HEADER_SIZE
    return bytes(payload[:head]) + answer[head:] + bytes(payload[len(answer) :])


def _packed(versions: tuple[IcVersion, ...]) -> int:
    return versions[0].major << 16 | versions[0].minor if versions else 0
