"""RNDIS on the control channel: the guest's requests and the answers to them (``rndis_filter_device_add``)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from struct import Struct
from typing import Final

from host.vsp.net.rss import ReceiveSideScaling
from protocol.errors import PeerError
from protocol.wire.layout import Readable
from protocol.wire.ndis import (
    OFFLOAD_SIZES,
    MediaState,
    Offload,
    OffloadParameters,
    Oid,
    RssCapabilities,
    RssParameters,
)
from protocol.wire.rndis import (
    BadRndis,
    Initialize,
    InitializeComplete,
    KeepAlive,
    KeepAliveComplete,
    Query,
    QueryComplete,
    ResetComplete,
    RndisStatus,
    RndisType,
    Set,
    SetComplete,
)

_U32: Final = Struct("<I")
_OBJECT: Final = Struct("<BBH")
LINK_SPEED: Final = 100_000_000
"""10 Gbit/s in units of 100 bit/s, as a virtual switch says."""


LONGEST_NAME: Final = 255
"""Characters; Linux takes as many, and one for a zero (``rndis_get_friendly_name``)."""


class RndisState(Enum):
    """``RNDIS_DEV_*`` of the guest, as the host can know it."""

    UNINITIALIZED = auto()
    INITIALIZED = auto()


NEXT: Final[dict[tuple[RndisState, RndisType], RndisState]] = {
    (RndisState.UNINITIALIZED, RndisType.INITIALIZE): RndisState.INITIALIZED,
    (RndisState.INITIALIZED, RndisType.QUERY): RndisState.INITIALIZED,
    (RndisState.INITIALIZED, RndisType.SET): RndisState.INITIALIZED,
    (RndisState.INITIALIZED, RndisType.RESET): RndisState.INITIALIZED,
    (RndisState.INITIALIZED, RndisType.KEEPALIVE): RndisState.INITIALIZED,
    (RndisState.INITIALIZED, RndisType.HALT): RndisState.UNINITIALIZED,
}
"""Where a message leads; a pair that is missing is out of order."""


@dataclass(slots=True)
class Adapter:
    """What is asked about and set. ``queues`` is how many channels the guest may have."""

    address: bytes
    mtu: int
    queues: int
    name: str
    connected: bool = True


class RndisControl:
    """One conversation, from INITIALIZE to HALT. ``post`` is given each answer."""

    def __init__(self, adapter: Adapter, rss: ReceiveSideScaling, post: Callable[[bytes], None]) -> None:
        self.state = RndisState.UNINITIALIZED
        self.filter = 0
        """``PacketFilter``, as a plain number."""
        self._adapter = adapter
        self._rss = rss
        self._post = post

    def receive(self, kind: int, message: Readable) -> None:
        """One message. Raises PeerError for what is out of order or makes no sense; it may have been answered."""
        try:
            following = NEXT[self.state, RndisType(kind)]
        except (ValueError, KeyError):
            raise BadRndis(f"RNDIS message {kind:#x} while {self.state.name}") from None
        match kind:
            case RndisType.INITIALIZE:
                self._post(InitializeComplete(Initialize.decode(message).request_id).encode())
            case RndisType.QUERY:
                self._query(Query.decode(message), message)
            case RndisType.SET:
                self._set(Set.decode(message), message)
            case RndisType.KEEPALIVE:
                self._post(KeepAliveComplete(KeepAlive.decode(message).request_id).encode())
            case RndisType.RESET:
                self.filter = 0
                self._post(ResetComplete().encode())
            case RndisType.HALT:
                self.filter = 0
        self.state = following

    # --- QUERY --------------------------------------------------------------------------------------------------------

    def _query(self, query: Query, message: Readable) -> None:
        try:
            value = self._value(query, message)
        except PeerError:
            self._answer(query, None, RndisStatus.INVALID_DATA)
            raise
        self._answer(query, value, RndisStatus.NOT_SUPPORTED)

    def _answer(self, query: Query, value: bytes | None, otherwise: RndisStatus) -> None:
        status = otherwise if value is None else RndisStatus.SUCCESS
        self._post(QueryComplete(query.request_id, status).with_information(value or b""))

    def _value(self, query: Query, message: Readable) -> bytes | None:
        adapter = self._adapter
        match query.oid:
            case Oid.GEN_MAXIMUM_FRAME_SIZE:
                return _U32.pack(adapter.mtu)
            case Oid.ADDRESS_802_3_PERMANENT:
                return adapter.address
            case Oid.GEN_FRIENDLY_NAME:
                return adapter.name[:LONGEST_NAME].encode("utf-16-le")
            case Oid.TCP_OFFLOAD_HARDWARE_CAPABILITIES:
                return _no_offload(query.information(message))
            case Oid.GEN_MEDIA_CONNECT_STATUS:
                return _U32.pack(MediaState.CONNECTED if adapter.connected else MediaState.DISCONNECTED)
            case Oid.GEN_LINK_SPEED:
                return _U32.pack(LINK_SPEED)
            case Oid.GEN_RECEIVE_SCALE_CAPABILITIES:
                return RssCapabilities(receive_queues=adapter.queues).encode()
            case Oid.GEN_CURRENT_PACKET_FILTER:
                return _U32.pack(self.filter)
            case _:
                return None

    # --- SET ----------------------------------------------------------------------------------------------------------

    def _set(self, request: Set, message: Readable) -> None:
        try:
            done = self._store(request.oid, request.information(message))
        except PeerError:
            self._post(SetComplete(request.request_id, RndisStatus.INVALID_DATA).encode())
            raise
        status = RndisStatus.SUCCESS if done else RndisStatus.NOT_SUPPORTED
        self._post(SetComplete(request.request_id, status).encode())

    def _store(self, oid: int, value: memoryview) -> bool:
        match oid:
            case Oid.GEN_CURRENT_PACKET_FILTER:
                if len(value) < 4:
                    raise BadRndis(f"RNDIS packet filter of {len(value)} bytes")
                self.filter = _U32.unpack_from(value)[0]
            case Oid.TCP_OFFLOAD_PARAMETERS:
                OffloadParameters.decode(value)  # whatever the guest chooses among no offloads is none
            case Oid.GEN_RECEIVE_SCALE_PARAMETERS:
                self._rss.set(RssParameters.decode(value), self._adapter.queues)
            case Oid.GEN_NETWORK_LAYER_ADDRESSES:
                pass  # a hint that nobody here needs
            case _:
                return False
        return True


def _no_offload(asked: memoryview) -> bytes:
    """The offload capabilities, in the revision that the guest asks for: none, so frames are plain both ways."""
    if len(asked) < _OBJECT.size:
        raise BadRndis(f"RNDIS query of offloads with {len(asked)} bytes of header")
    revision = min(_OBJECT.unpack_from(asked)[1], max(OFFLOAD_SIZES))
    if revision not in OFFLOAD_SIZES:
        raise BadRndis(f"RNDIS query of offloads in revision {revision}")
    size = OFFLOAD_SIZES[revision]
    return Offload(revision=revision, size=size).encode()[:size]
