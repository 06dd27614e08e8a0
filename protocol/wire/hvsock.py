"""hv_sock on the wire: connect request and refusal, the user data of its offers, and ports as GUIDs."""

from uuid import UUID

from protocol.wire.control import ControlMessage, message
from protocol.wire.fields import guid, u8, u32
from protocol.wire.layout import Readable, Structure, structure
from protocol.wire.versions import Dialect, Version

_TEMPLATE = UUID("00000000-facb-11e6-bd58-64006a7986d3")
_LOW_96_BITS = (1 << 96) - 1


def service_of_port(port: int) -> UUID:
    """The service GUID of an AF_VSOCK port (hv_sock, ``hvs_addr_init`` and ``srv_id_template``)."""
    return UUID(int=port << 96 | _TEMPLATE.int)


def port_of_service(service: UUID) -> int | None:
    """The AF_VSOCK port, or None for a GUID outside Linux's template."""
    return service.int >> 96 if service.int & _LOW_96_BITS == _TEMPLATE.int else None


@message(21, "TL_CONNECT_REQUEST", to_host=True, since=Version.WIN10)
class TlConnectRequest(ControlMessage):
    """The guest connects to a service of the host. Success is an offer with these GUIDs; failure is type 23.

    The silo id (OpenVMM, ``TlConnectRequest2``) may be there from 5.2 on: 56 bytes instead of 40.
    """

    endpoint_id: UUID = guid(8)
    service_id: UUID = guid(24)
    silo_id: UUID | None = guid(40, default=None, since=Version.V5_2)

    def form_to_send(self, dialect: Dialect) -> tuple[int, int]:
        return (0, 0) if self.silo_id is None else (dialect.version, 0)

    @classmethod
    def form_received(cls, data: Readable, dialect: Dialect) -> tuple[int, int]:
        return (dialect.version, 0) if len(data) >= 56 else (0, 0)


@message(23, "TL_CONNECT_RESULT", to_host=False, since=Version.WIN10_RS3)
class TlConnectResult(ControlMessage):
    """Refused. Linux drops it without a look; layout from OpenVMM (vmbus_core, protocol.rs)."""

    endpoint_id: UUID = guid(8)
    service_id: UUID = guid(24)
    status: int = u32(40)


@structure(size=120)
class HvSockUserData(Structure):
    """User-defined bytes of an hv_sock offer (OpenVMM, ``HvsockUserDefinedParameters``); Linux reads byte 4 only.

    ``for_guest_accept`` 1: the host connects to a listener of the guest; 0: this is the answer to TL_CONNECT_REQUEST.
    """

    pipe_mode: int = u32(0, default=0)
    for_guest_accept: int = u8(4, default=0)
    for_guest_container: int = u8(5, default=0)
    version: int = u32(6, default=1)
    silo_id: UUID = guid(10, default=UUID(int=0))
