"""The port on which a guest of protocol 5.0 or newer makes contact, before it knows which server it talks to."""

from typing import Final, Protocol

from host.hypervisor.interface import Hypervisor
from host.vmbus.link import Complain
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, Sint, VpIndex
from protocol.wire.messages import InitiateContact, VersionResponse, decode, encode
from protocol.wire.versions import Dialect, Version

MULTI_CLIENT: Final = ConnectionId(4)
DEFAULT_SINT: Final = Sint(2)
_ANY: Final = Dialect(Version.WIN8)
"""INITIATE_CONTACT says itself which form it has, and a refusal has only one."""
_CONTACT: Final = InitiateContact.number.to_bytes(4, "little")


class Server(Protocol):
    """What the port needs to know of a server."""

    @property
    def sint(self) -> Sint:
        """The SINT whose guests it serves."""

    @property
    def vtl(self) -> int:
        """The virtual trust level whose guests it serves."""

    def receive(self, payload: bytes) -> None:
        """A control message for this server."""


class ContactPort:
    """Message connection 4 ("multi-client"), shared by all servers of a partition.

    Only here do the SINT (from 5.0) and VTL (from 5.1) of INITIATE_CONTACT count; they choose the server.  Anything
    else that comes in here is for the first server, which is what a guest with one server expects (OpenVMM leaves the
    port open for good).
    """

    def __init__(self, hypervisor: Hypervisor, complain: Complain) -> None:
        self._hypervisor = hypervisor
        self._complain = complain
        self._servers: list[Server] = []
        hypervisor.listen_messages(MULTI_CLIENT, self._receive)

    def serve(self, server: Server) -> None:
        """Let guests reach ``server``.  OperatorError if another one has its SINT and VTL."""
        if any((other.sint, other.vtl) == (server.sint, server.vtl) for other in self._servers):
            raise OperatorError(f"give each VMBus server its own SINT: {server.sint} is taken")
        self._servers.append(server)

    def _receive(self, vp: VpIndex, payload: bytes) -> None:
        try:
            self._route(payload)
        except PeerError as error:
            self._complain(error)

    def _route(self, payload: bytes) -> None:
        contact = decode(payload, _ANY) if payload[:4] == _CONTACT else None
        if not isinstance(contact, InitiateContact):
            self._servers[0].receive(payload)
            return
        sint = Sint(contact.sint) if contact.version >= Version.V5_0 else DEFAULT_SINT
        vtl = contact.vtl if contact.version >= Version.V5_1 else 0
        reachable = [server for server in self._servers if server.vtl == vtl]
        if not reachable:
            raise PeerError(f"INITIATE_CONTACT: no VMBus server at VTL {vtl}")
        for server in reachable:
            if server.sint == sint:
                server.receive(payload)
                return
        self._refuse(contact.target_vp, sint)

    def _refuse(self, vp: VpIndex, sint: Sint) -> None:
        """ "Unsupported", to where the guest wanted its messages: nothing is known of it but that."""
        if vp not in self._hypervisor.vps:
            raise PeerError(f"INITIATE_CONTACT for SINT {sint}: there is no VP {vp} to refuse it to")
        self._hypervisor.post(vp, sint, encode(VersionResponse(supported=0), _ANY))
        raise PeerError(f"INITIATE_CONTACT: no VMBus server at SINT {sint}")
