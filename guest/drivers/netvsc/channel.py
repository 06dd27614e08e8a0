"""One CPU's view of a queue and its channel (``struct netvsc_channel``): interrupt, poll, and who gets which packet."""

from __future__ import annotations

from guest.drivers.netvsc.exchange import VMBUS_RQST_INIT
from guest.drivers.netvsc.nic import Nic
from guest.drivers.netvsc.receives import Receives
from guest.drivers.netvsc.sends import Sends
from guest.net.device import REGISTERED
from guest.net.napi import Napi
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.dispatch import give_up
from protocol.errors import PeerError
from protocol.ring import Packet, PacketType
from protocol.wire.nvsp import RndisPacketComplete, decode_send_table, type_of
from protocol.wire.nvsp_numbers import NvspType
from protocol.wire.rndis import IndicateStatus, RndisStatus, RndisType
from protocol.wire.rndis_packet import decode_packet


class NetvscChannel:
    """Made of words alone, so any CPU can have one of these at any time."""

    def __init__(self, nic: Nic, channel: VmbusChannel, queue: int) -> None:
        core, words = nic.core, nic.queues[queue]
        self.channel = channel
        self.words = words
        self.napi = Napi(core, words, self._poll)
        self.stats = nic.device.queues[queue]
        self.sends = Sends(core, channel, nic.words, words, self.stats, nic.device.woken[queue])
        self.receives = Receives(channel, nic.words, words, self._deliver)
        self.nic = nic
        self._queue = queue

    @property
    def busy(self) -> bool:
        """``netvsc_device_idle``, the other way round. What cannot end, since nobody listens, does not count."""
        words, channel = self.words, self.channel.words
        return bool(
            channel.callback and not channel.rescind and (words.queue_sends or words.owed_first != words.owed_next)
        )

    @property
    def unread(self) -> bool:
        """``hv_get_bytes_to_read`` of what the host has sent; nothing if nobody listens."""
        try:
            return bool(self.channel.words.callback and self.channel.mapped and self.channel.inbound.available())
        except PeerError:
            return False

    def channel_cb(self) -> None:
        """``netvsc_channel_cb``, in the hard interrupt: the host shall be silent until the ring has been polled."""
        if self.napi.schedule_prep():
            self.channel.inbound.mask()
            self.napi.schedule()

    def _poll(self, budget: int) -> int:
        """``netvsc_poll``. Interrupts are let through again, and the ring is looked at once more, when it is empty.

        ``budget`` counts packets of the ring (in Linux, frames). While answers to the host do not fit into the ring,
        the host stays silent and is not listened to; the signal that there is room comes even so. (Linux polls on.)
        """
        limit = min(budget, self.receives.room)
        try:
            taken = self.channel.receive(self._take, limit) if limit else 0
            answered = self.receives.send_completions()
        except PeerError as error:
            give_up(self.channel, str(error))
            self.napi.complete_done()
            return 0
        self.sends.wake()
        if taken < budget and self.napi.complete_done() and answered and self._more() and self.napi.schedule_prep():
            self.channel.inbound.mask()
            self.napi.schedule()
        return taken

    def _more(self) -> bool:
        """``hv_end_read``: let the host signal again. True: it wrote while it was silenced."""
        try:
            return self.channel.inbound.unmask()
        except PeerError as error:
            give_up(self.channel, str(error))
            return False

    def _take(self, packet: Packet) -> None:
        """``netvsc_process_raw_pkt``. What makes no sense is counted and otherwise ignored."""
        try:
            match packet.type:
                case PacketType.COMPLETION:
                    known = self._completion(packet)
                case PacketType.TRANSFER_PAGES:
                    self.receives.receive(packet)
                    return
                case PacketType.IN_BAND:
                    known = self._inband(packet)
                case _:
                    known = False
            self.words.unknown += not known
        except PeerError:
            self.words.malformed += 1

    def _completion(self, packet: Packet) -> bool:
        """``netvsc_send_completion``. That of an RNDIS request says nothing; its answer comes by itself."""
        kind = type_of(packet.payload)
        if packet.transaction_id != VMBUS_RQST_INIT:
            RndisPacketComplete.decode(packet.payload)
            return self.sends.complete(packet.transaction_id)
        return kind == NvspType.SEND_RNDIS_PKT_COMPLETE or self.nic.exchange.take_nvsp(bytes(packet.payload))

    def _inband(self, packet: Packet) -> bool:
        """``netvsc_receive_inband``. Virtual functions are not modelled, so VF_ASSOCIATION changes nothing."""
        kind = type_of(packet.payload)
        if kind == NvspType.SEND_INDIRECTION_TABLE:
            for entry, queue in enumerate(decode_send_table(packet.payload)):
                self.nic.device.words.tx_table[entry] = queue
        return kind in (NvspType.SEND_INDIRECTION_TABLE, NvspType.SEND_VF_ASSOCIATION)

    def _deliver(self, kind: int, message: memoryview) -> None:
        """``rndis_filter_receive``. Raises PeerError."""
        if kind == RndisType.PACKET:
            self._receive_frame(decode_packet(message)[0])
        elif kind == RndisType.INDICATE_STATUS:
            self._linkstatus(IndicateStatus.decode(message).status)
        elif not self.nic.exchange.take_rndis(kind, bytes(message)):
            self.words.unknown += 1

    def _receive_frame(self, frame: memoryview) -> None:
        """``netvsc_recv_callback``. Raises PeerError, and so fails the packet, if there is no device for it."""
        device = self.nic.device
        if device.words.state != REGISTERED:
            raise PeerError("netvsc: a frame for a device that is not registered")
        self.stats.rx_frames += 1
        self.stats.rx_bytes += len(frame)
        if device.receiver is None:
            self.stats.rx_dropped += 1
        else:
            device.receiver(self._queue, frame)

    def _linkstatus(self, status: int) -> None:
        """``netvsc_linkstatus_callback``. Simplified: at once, where Linux lets two seconds pass between changes."""
        words = self.nic.device.words
        if status in (RndisStatus.MEDIA_CONNECT, RndisStatus.MEDIA_DISCONNECT):
            words.carrier = int(status == RndisStatus.MEDIA_CONNECT)
            self.nic.log("link is " + ("up" if words.carrier else "down"))
