"""A sub-channel of storvsp: requests only, no handshake (``handle_sc_creation``)."""

from collections.abc import Callable

from host.vsp.device import Offer, Services
from host.vsp.storage.channel import StorChannel
from host.vsp.storage.connection import Connection
from host.vsp.storage.controller import ScsiController
from protocol.ring import Packet
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import Operation, VstorPacket


class StorvspSubChannel(StorChannel):
    """Takes requests for any disk of the controller once ``ready`` says that the primary's handshake is over.

    Kernels that create sub-channels before END_INITIALIZATION may send requests before it, too; they wait in the
    ring, and the primary rings the doorbell here when it is ready.
    """

    def __init__(self, services: Services, controller: ScsiController, offer: Offer, ready: Callable[[], bool]) -> None:
        super().__init__(services, controller, offer)
        self._ready = ready

    def takes_requests(self) -> bool:
        return self._ready()

    def operate(self, connection: Connection, packet: Packet, vstor: VstorPacket) -> None:
        match vstor.operation:
            case Operation.EXECUTE_SRB:
                connection.execute(packet, vstor)
            case Operation.RESET_BUS | Operation.RESET_ADAPTER | Operation.RESET_LUN:
                connection.answer(packet, NtStatus.SUCCESS)
            case _:
                why = f"operation {vstor.operation} on sub-channel {self.offer.sub_channel_index}"
                raise connection.refuse(packet, NtStatus.INVALID_DEVICE_STATE, why)
