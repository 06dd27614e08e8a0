"""One storvsp channel while it is open: SCSI requests in, completions out on the channel that they came from."""

from collections.abc import Callable
from typing import Final

from host.vsp.device import Services, VspChannel
from host.vsp.endpoint import Endpoint
from host.vsp.storage.controller import Address, ScsiController
from host.vsp.storage.request import completion_body, guest_buffer, nt_status
from host.vsp.storage.scsi.outcome import Outcome, check_condition
from host.vsp.storage.scsi.sense import INVALID_FIELD_IN_CDB
from protocol.errors import PeerError
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType
from protocol.wire.layout import ShortMessage
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import BODY_SIZE, PACKET_SIZE, Operation, SrbStatus, VmscsiRequest, VstorPacket

QUEUE_DEPTH: Final = 256
"""Requests in flight per channel, as in OpenVMM; further ones wait in the ring."""

_SHORTEST: Final = 48
"""Kernels before 6.1 send 16 bytes less until a version is agreed (``vmscsi_size_delta``)."""

_FAILED_SRB: Final = VmscsiRequest(srb_status=SrbStatus.INVALID_REQUEST).encode()
"""Body of a refusal: an SRB status of 0 would pass for a success in ``storvsc_command_completion``."""


class Connection:
    """``operate`` is given each well-formed operation and ends it with ``answer`` or ``execute``, or raises ``refuse``.

    ``ready`` says whether requests may be taken from the ring at all. Whatever the guest sends with a completion
    requested gets exactly one, since Linux waits for it without end; what it sends without, or with transaction id 0
    (which Hyper-V keeps for what nobody asked for), is complained about and not carried out.
    """

    def __init__(
        self,
        channel: VspChannel,
        controller: ScsiController,
        services: Services,
        operate: Callable[["Connection", Packet, VstorPacket], None],
        ready: Callable[[], bool],
    ) -> None:
        self._ram = channel.ram
        self._controller = controller
        self._operate = operate
        self._ready = ready
        self._in_flight = 0
        self._idle: list[Callable[[], None]] = []
        self._endpoint = Endpoint(channel, self._receive, services.complain, self._appetite, services.journal)

    def look(self) -> None:
        """A doorbell, or ``ready`` has changed."""
        self._endpoint.look()

    def close(self, done: Callable[[], None]) -> None:
        """Stop taking requests and wait for those in flight: their pages belong to the guest again after ``done``."""
        self._endpoint.close()
        self.when_idle(done)

    def when_idle(self, done: Callable[[], None]) -> None:
        """Call ``done`` once no request is in flight."""
        self._idle.append(done)
        self._look_idle()

    def notify(self, operation: Operation) -> None:
        """Tell the guest something unasked: transaction id 0 and no completion (``storvsc_on_receive``)."""
        self._endpoint.post(PacketType.IN_BAND, VstorPacket(operation).encode())

    def answer(self, packet: Packet, status: NtStatus, body: bytes = b"") -> None:
        """Complete one operation. Always 64 bytes: Linux drops less, and receives no more than 80 with the header."""
        reply = VstorPacket(Operation.COMPLETE_IO, status=status, body=body.ljust(BODY_SIZE, b"\0"))
        self._endpoint.post(PacketType.COMPLETION, reply.encode(), packet.transaction_id)

    def refuse(self, packet: Packet, status: NtStatus, why: str) -> PeerError:
        """Answer an operation that cannot be carried out; the result is to be raised."""
        self.answer(packet, status, _FAILED_SRB)
        return PeerError(f"storvsp: {why}")

    def execute(self, packet: Packet, vstor: VstorPacket) -> None:
        """EXECUTE_SRB: answered when the disk is done with it. Raises PeerError for a data buffer that is none."""
        request = VmscsiRequest.decode(vstor.body)
        self._controller.tally.requests += 1
        try:
            data = guest_buffer(packet, request, self._ram)
        except PeerError:
            self._complete(packet, request, check_condition(INVALID_FIELD_IN_CDB))
            raise
        self._in_flight += 1

        def done(outcome: Outcome) -> None:
            held = self._appetite() == 0
            self._in_flight -= 1
            self._complete(packet, request, outcome)
            self._look_idle()
            if held:
                self._endpoint.look()

        address = Address(request.path_id, request.target_id, request.lun)
        self._controller.execute(address, request.cdb_or_sense[:16], data, done)

    def _complete(self, packet: Packet, request: VmscsiRequest, outcome: Outcome) -> None:
        self._controller.tally.complete(request, outcome.srb_status, outcome.transferred)
        self.answer(packet, nt_status(outcome), completion_body(request, outcome))

    def _appetite(self) -> int:
        return QUEUE_DEPTH - self._in_flight if self._ready() else 0

    def _receive(self, packet: Packet) -> None:
        if packet.type == PacketType.COMPLETION:
            raise PeerError(f"storvsp: completion of {packet.transaction_id:#x}, for which the host never asked")
        if not packet.flags & COMPLETION_REQUESTED or not packet.transaction_id:
            raise PeerError(f"storvsp: request {packet.transaction_id:#x} that cannot be completed is not carried out")
        try:
            vstor = _decode(packet)
        except PeerError:
            self.answer(packet, NtStatus.INVALID_PARAMETER, _FAILED_SRB)
            raise
        self._operate(self, packet, vstor)

    def _look_idle(self) -> None:
        if not self._in_flight:
            idle, self._idle = self._idle, []
            for done in idle:
                done()


def _decode(packet: Packet) -> VstorPacket:
    payload = bytes(packet.payload)
    if len(payload) < _SHORTEST:
        raise ShortMessage("vstor_packet", "vm_srb", _SHORTEST, len(payload))
    return VstorPacket.decode(payload.ljust(PACKET_SIZE, b"\0"))
