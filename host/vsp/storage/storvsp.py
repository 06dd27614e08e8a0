"""storvsp: the synthetic SCSI controller that Linux drives with ``storvsc_drv.c``."""

from collections.abc import Callable
from dataclasses import asdict, replace
from uuid import UUID

from host.vsp.device import Offer, Services, SubChannels
from host.vsp.storage.channel import StorChannel
from host.vsp.storage.connection import Connection
from host.vsp.storage.controller import ScsiController
from host.vsp.storage.handshake import NEXT, State
from host.vsp.storage.request import MAX_TRANSFER_BYTES
from host.vsp.storage.sub_channel import StorvspSubChannel
from protocol.ring import Packet
from protocol.wire.guids import HV_SCSI_GUID
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import (
    SUPPORTS_MULTI_CHANNEL,
    VERSIONS,
    Operation,
    Properties,
    ProtocolVersion,
    VstorPacket,
)
from protocol.wire.vstor import SubChannels as SubChannelCount


class Storvsp(StorChannel):
    """The primary channel of a controller: handshake, then requests.

    ``instance_id`` names the controller. ``max_sub_channels`` is what QUERY_PROPERTIES announces; those that the guest
    asks for are offered through ``sub_channels`` and withdrawn when the primary closes.

    Simplified: resets only answer, as in OpenVMM: requests in flight complete by themselves, which is what
    ``storvsc_host_reset`` waits for.
    """

    def __init__(
        self,
        services: Services,
        controller: ScsiController,
        instance_id: UUID,
        sub_channels: SubChannels,
        max_sub_channels: int = 0,
    ) -> None:
        super().__init__(services, controller, Offer(HV_SCSI_GUID, instance_id))
        self.state = State.BEGIN
        self.version: int | None = None
        """Major << 8 | minor, once agreed."""
        self.controller = controller
        self._max_sub_channels = max_sub_channels
        self._offers = sub_channels
        self._sub_channels: list[StorvspSubChannel] = []
        controller.notice = self._notify

    def close(self, done: Callable[[], None]) -> None:
        """The next opening begins a new handshake, and finds no disk at work on what came before.

        Without that, a write of a sub-channel could reach the disk after one that the guest sends on its new channels.
        """
        self.state, self.version = State.BEGIN, None
        closing, self._sub_channels = self._sub_channels, []
        self._offers.withdraw()
        left = 1 + len(closing)

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for sub_channel in closing:
            sub_channel.when_idle(one_done)
        super().close(one_done)

    def counts(self) -> dict[str, int]:
        """Of the whole controller, whichever channel a request came through."""
        return {**super().counts(), **asdict(self.controller.tally)}

    def takes_requests(self) -> bool:
        return True

    def operate(self, connection: Connection, packet: Packet, vstor: VstorPacket) -> None:
        """One operation, if the table allows it now."""
        try:
            following = NEXT[self.state, Operation(vstor.operation)]
        except (ValueError, KeyError):
            why = f"operation {vstor.operation} while waiting in {self.state.name}"
            raise connection.refuse(packet, NtStatus.INVALID_DEVICE_STATE, why) from None
        match vstor.operation:
            case Operation.EXECUTE_SRB:
                connection.execute(packet, vstor)
            case Operation.QUERY_PROTOCOL_VERSION:
                if not self._agree(connection, packet, ProtocolVersion.decode(vstor.body)):
                    return
            case Operation.QUERY_PROPERTIES:
                flags = SUPPORTS_MULTI_CHANNEL if self._max_sub_channels else 0
                properties = Properties(self._max_sub_channels, flags, MAX_TRANSFER_BYTES)
                connection.answer(packet, NtStatus.SUCCESS, properties.encode())
            case Operation.CREATE_SUB_CHANNELS:
                self._create_sub_channels(connection, packet, SubChannelCount.decode(vstor.body).count)
            case _:
                connection.answer(packet, NtStatus.SUCCESS)
        self._enter(following)

    def _notify(self, operation: Operation) -> None:
        """A guest that is not ready has yet to look at the bus for the first time."""
        if self._connection and self._is_ready():
            self._connection.notify(operation)

    def _enter(self, state: State) -> None:
        before, self.state = self.state, state
        if self._is_ready() and before is not state:
            for sub_channel in self._sub_channels:
                sub_channel.doorbell()

    def _is_ready(self) -> bool:
        return self.state is State.READY

    def _agree(self, connection: Connection, packet: Packet, asked: ProtocolVersion) -> bool:
        supported = asked.version in VERSIONS
        status = NtStatus.SUCCESS if supported else NtStatus.REVISION_MISMATCH
        connection.answer(packet, status, asked.encode())
        if supported:
            self.version = asked.version
        return supported

    def _create_sub_channels(self, connection: Connection, packet: Packet, count: int) -> None:
        """Once per opening, and not more than announced."""
        if self._sub_channels or count > self._max_sub_channels:
            why = f"{count} sub-channels wanted, {len(self._sub_channels)} of {self._max_sub_channels} exist"
            raise connection.refuse(packet, NtStatus.INVALID_PARAMETER, why)
        connection.answer(packet, NtStatus.SUCCESS)
        self._sub_channels = [
            StorvspSubChannel(
                self._services, self._controller, replace(self.offer, sub_channel_index=index), self._is_ready
            )
            for index in range(1, count + 1)
        ]
        self._offers.offer(self._sub_channels)
