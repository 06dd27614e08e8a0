"""A sub-channel of netvsp: frames only, no handshake (``netvsc_sc_open``)."""

from collections.abc import Callable

from host.vsp.device import Offer, Services, VspChannel
from host.vsp.net.channel import NetChannel
from host.vsp.net.nic import Nic
from protocol.errors import PeerError
from protocol.ring import Packet
from protocol.wire.nvsp import RndisPacketComplete
from protocol.wire.nvsp_numbers import NvspStatus, NvspType


class NetvspSubChannel(NetChannel):
    """``opened`` is called each time that the guest has opened it; ``ready`` says whether the NIC is set up."""

    def __init__(
        self, services: Services, nic: Nic, offer: Offer, opened: Callable[[], None], ready: Callable[[], bool]
    ) -> None:
        super().__init__(services, nic, offer)
        self._opened = opened
        self._ready = ready

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        super().open(channel, user_data)
        self._opened()

    def operate(self, packet: Packet, kind: int) -> None:
        if kind != NvspType.SEND_RNDIS_PKT or not self._ready():
            self.complete(packet, RndisPacketComplete(NvspStatus.FAIL))
            raise PeerError(f"netvsc: message {kind} on sub-channel {self.index}")
        self.carry(packet)
