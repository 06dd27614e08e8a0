"""netvsp: the synthetic NIC that Linux drives with ``hv_netvsc``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

from host.vsp.device import Offer, Services, SubChannels
from host.vsp.net.backend import Backend
from host.vsp.net.channel import NetChannel
from host.vsp.net.control import Adapter
from host.vsp.net.frames import ETHERNET_HEADER
from host.vsp.net.handshake import NEXT, State
from host.vsp.net.nic import Nic
from host.vsp.net.receive_buffer import ReceiveBuffer
from host.vsp.net.send_buffer import SECTION_SIZE, SendBuffer
from host.vsp.net.shared_buffer import SharedBuffer
from host.vsp.net.sub_channel import NetvspSubChannel
from protocol.errors import PeerError
from protocol.ids import GpadlId
from protocol.ring import Packet, PacketType
from protocol.wire.guids import HV_NIC_GUID
from protocol.wire.nvsp import (
    Init,
    InitComplete,
    NdisConfig,
    NdisVersion,
    NvspMessage,
    ReceiveBufferComplete,
    RevokeReceiveBuffer,
    RevokeSendBuffer,
    RndisPacketComplete,
    SendBufferComplete,
    SubChannelComplete,
    SubChannelRequest,
    SwitchDataPath,
    encode_send_table,
)
from protocol.wire.nvsp import (
    ReceiveBuffer as ReceiveBufferRequest,
)
from protocol.wire.nvsp import (
    SendBuffer as SendBufferRequest,
)
from protocol.wire.nvsp_numbers import (
    NO_LEGACY_VERSION,
    RECEIVE_BUFFER_ID,
    SEND_BUFFER_ID,
    SEND_TABLE_SIZE,
    SUBCHANNEL_ALLOCATE,
    DataPath,
    NvspStatus,
    NvspType,
    NvspVersion,
)
from protocol.wire.rndis import RndisStatus

MAX_MDL_CHAIN: Final = 34
"""As Hyper-V answers; Linux does not look."""
STANDARD_MTU: Final = 1500
SHORTEST_MTU: Final = 68

REFUSALS: Final[dict[int, NvspMessage]] = {
    NvspType.INIT: InitComplete(NO_LEGACY_VERSION, MAX_MDL_CHAIN, NvspStatus.NONE),
    NvspType.SEND_RECV_BUF: ReceiveBufferComplete(NvspStatus.FAIL),
    NvspType.SEND_SEND_BUF: SendBufferComplete(NvspStatus.FAIL),
    NvspType.SUBCHANNEL: SubChannelComplete(NvspStatus.FAIL, 0),
}
"""What a request that is refused is completed with; everything else as a failed RNDIS packet."""


class Netvsp(NetChannel):
    """The primary channel: handshake, control messages, and frames.

    ``adapter.queues`` is how many channels the guest may have, this one included. ``max_version`` is the newest that
    the host admits to know. State lasts from one opening of the channel to its close: the guest's change of an MTU or
    of the number of channels is a close and a new handshake (``netvsc_detach``, ``netvsc_attach``).

    Simplified: no offloads and no RSC, so every frame is at most an MTU long and checksums are the guest's; no virtual
    function; the guest cannot change its address.
    """

    def __init__(
        self,
        services: Services,
        instance_id: UUID,
        adapter: Adapter,
        backend: Backend,
        sub_channels: SubChannels,
        max_version: NvspVersion = NvspVersion.V6_1,
    ) -> None:
        super().__init__(services, Nic(adapter, backend), Offer(HV_NIC_GUID, instance_id))
        self.state = State.VERSION
        self.version: NvspVersion | None = None
        self._offers = sub_channels
        self._max_version = max_version
        self._start_over()

    def _start_over(self) -> None:
        self.state, self.version = State.VERSION, None
        self._mtu = STANDARD_MTU
        self._gpadls: dict[NvspType, GpadlId] = {}
        self._sub_channels: list[NetvspSubChannel] = []

    def close(self, done: Callable[[], None]) -> None:
        """The next opening begins a new handshake."""
        self._start_over()
        self.nic.start_over()
        self._offers.withdraw()
        super().close(done)

    def counts(self) -> dict[str, int]:
        return self.nic.counts.plain() | self.nic.backend.counts()

    def set_link(self, connected: bool) -> None:
        """Plug the cable in or out. Linux waits two seconds between two changes (``netvsc_link_change``)."""
        if connected != self.nic.adapter.connected:
            self.nic.indicate(RndisStatus.MEDIA_CONNECT if connected else RndisStatus.MEDIA_DISCONNECT)
            self.nic.adapter.connected = connected

    # --- the handshake ------------------------------------------------------------------------------------------------

    def operate(self, packet: Packet, kind: int) -> None:
        """One message, if the table allows it now."""
        try:
            following = NEXT[self.state, NvspType(kind)]
        except (ValueError, KeyError):
            raise self._refuse(packet, kind, f"message {kind} while waiting in {self.state.name}") from None
        if kind == NvspType.SEND_RNDIS_PKT:
            self.carry(packet)
            return
        try:
            self._handle(packet, NvspType(kind))
        except PeerError as error:
            raise self._refuse(packet, kind, str(error)) from None
        self.state = following

    def _refuse(self, packet: Packet, kind: int, why: str) -> PeerError:
        self.complete(packet, REFUSALS.get(kind, RndisPacketComplete(NvspStatus.FAIL)))
        return PeerError(f"netvsc: {why}")

    def _handle(self, packet: Packet, kind: NvspType) -> None:
        payload = packet.payload
        match kind:
            case NvspType.INIT:
                self._agree(packet, Init.decode(payload))
            case NvspType.SEND_NDIS_CONFIG:
                self._configure(NdisConfig.decode(payload))
            case NvspType.SEND_NDIS_VERSION:
                NdisVersion.decode(payload)
            case NvspType.SEND_RECV_BUF:
                self._take_receive_buffer(packet, ReceiveBufferRequest.decode(payload))
            case NvspType.SEND_SEND_BUF:
                self._take_send_buffer(packet, SendBufferRequest.decode(payload))
            case NvspType.SUBCHANNEL:
                self._create_sub_channels(packet, SubChannelRequest.decode(payload))
            case NvspType.SWITCH_DATA_PATH:
                self._switch(packet, SwitchDataPath.decode(payload))
            case NvspType.REVOKE_RECV_BUF:
                self._revoke(NvspType.SEND_RECV_BUF, RevokeReceiveBuffer.decode(payload).id, RECEIVE_BUFFER_ID)
            case NvspType.REVOKE_SEND_BUF:
                self._revoke(NvspType.SEND_SEND_BUF, RevokeSendBuffer.decode(payload).id, SEND_BUFFER_ID)

    def _agree(self, packet: Packet, asked: Init) -> None:
        """The newest version of the guest's range; Linux's ranges hold one."""
        known = [version for version in NvspVersion if version <= self._max_version]
        fitting = [version for version in known if asked.min_version <= version <= asked.max_version]
        if not fitting:
            raise PeerError(f"versions {asked.min_version:#x} to {asked.max_version:#x} are not spoken here")
        self.version = fitting[-1]
        legacy = self.version if self.version == NvspVersion.V1 else NO_LEGACY_VERSION
        self.complete(packet, InitComplete(legacy, MAX_MDL_CHAIN, NvspStatus.SUCCESS))

    def _configure(self, config: NdisConfig) -> None:
        if self.version == NvspVersion.V1:
            raise PeerError("NDIS configuration in version 1")
        self._mtu = max(SHORTEST_MTU, min(config.mtu - ETHERNET_HEADER, self.nic.adapter.mtu))

    def _take_receive_buffer(self, packet: Packet, request: ReceiveBufferRequest) -> None:
        buffer = ReceiveBuffer(self._map(NvspType.SEND_RECV_BUF, request.gpadl), ETHERNET_HEADER + self._mtu)
        if request.id != RECEIVE_BUFFER_ID or not buffer.usable:
            self._unmap(NvspType.SEND_RECV_BUF)
            raise PeerError(f"receive buffer {request.id:#x} with room for {buffer.count} messages")
        self.nic.receive_buffer = buffer
        size = buffer.sub_alloc_size
        end = size * buffer.count
        self.complete(packet, ReceiveBufferComplete(NvspStatus.SUCCESS, 1, 0, size, buffer.count, end))

    def _take_send_buffer(self, packet: Packet, request: SendBufferRequest) -> None:
        self.nic.send_buffer = SendBuffer(self._map(NvspType.SEND_SEND_BUF, request.gpadl))
        self.complete(packet, SendBufferComplete(NvspStatus.SUCCESS, SECTION_SIZE))

    def _switch(self, packet: Packet, request: SwitchDataPath) -> None:
        if request.active != DataPath.SYNTHETIC:
            raise PeerError(f"data path {request.active}, and there is no virtual function")
        self.complete(packet, RndisPacketComplete(NvspStatus.SUCCESS))

    def _revoke(self, which: NvspType, id: int, expected: int) -> None:
        if id != expected:
            raise PeerError(f"revocation of buffer {id:#x}")
        if which is NvspType.SEND_RECV_BUF:
            self.nic.start_over()
        self.nic.send_buffer = None
        self._unmap(which)

    def _map(self, which: NvspType, gpadl: GpadlId) -> SharedBuffer:
        assert self._channel is not None
        ranges = self._channel.map_gpadl(gpadl)
        self._gpadls[which] = gpadl
        return SharedBuffer(self._channel.ram, ranges)

    def _unmap(self, which: NvspType) -> None:
        assert self._channel is not None
        gpadl = self._gpadls.pop(which, None)
        if gpadl is not None:
            self._channel.unmap_gpadl(gpadl)

    # --- sub-channels -------------------------------------------------------------------------------------------------

    def _create_sub_channels(self, packet: Packet, request: SubChannelRequest) -> None:
        """Once per opening, and not more than announced. Linux waits for all of them, without end."""
        available = 0 if self._sub_channels else self.nic.adapter.queues - 1
        if request.operation != SUBCHANNEL_ALLOCATE or not 1 <= request.count <= available:
            raise PeerError(f"operation {request.operation} on {request.count} sub-channels: {available} can be had")
        self._sub_channels = [
            NetvspSubChannel(
                self._services,
                self.nic,
                replace(self.offer, sub_channel_index=index),
                self._sub_channel_opened,
                lambda: self.state is State.READY,
            )
            for index in range(1, request.count + 1)
        ]
        self.complete(packet, SubChannelComplete(NvspStatus.SUCCESS, request.count))
        self._offers.offer(self._sub_channels)

    def _sub_channel_opened(self) -> None:
        """When all are open, say which of them to send on (OpenVMM, at the same moment)."""
        channels = len(self.nic.channels)
        if channels == 1 + len(self._sub_channels):
            table = [entry % channels for entry in range(SEND_TABLE_SIZE)]
            self.post(PacketType.IN_BAND, encode_send_table(table))
