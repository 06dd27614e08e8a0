"""The conversation that sets a NIC up, as a table (``netvsc_connect_vsp``, ``netvsc_device_remove``).

guest sends                host answers
INIT                       the version is good; or not, and the guest tries its next one
SEND_NDIS_CONFIG           nothing; from version 2 on: frame size and capabilities
SEND_NDIS_VERSION          nothing
SEND_RECV_BUF              how the buffer is cut up
SEND_SEND_BUF              the size of a section; RNDIS begins
SEND_RNDIS_PKT             a completion each
SUBCHANNEL                 how many will be offered
SWITCH_DATA_PATH           a completion; there is no virtual function to switch to
REVOKE_RECV_BUF            nothing; after the RNDIS halt
REVOKE_SEND_BUF            nothing; the channel is closed next
"""

from enum import Enum, auto

from protocol.wire.nvsp_numbers import NvspType


class State(Enum):
    """What the host waits for."""

    VERSION = auto()
    NDIS = auto()
    RECEIVE_BUFFER = auto()
    SEND_BUFFER = auto()
    READY = auto()
    REVOKED = auto()


NEXT: dict[tuple[State, NvspType], State] = {
    (State.VERSION, NvspType.INIT): State.NDIS,
    (State.NDIS, NvspType.SEND_NDIS_CONFIG): State.NDIS,
    (State.NDIS, NvspType.SEND_NDIS_VERSION): State.RECEIVE_BUFFER,
    (State.RECEIVE_BUFFER, NvspType.SEND_RECV_BUF): State.SEND_BUFFER,
    (State.SEND_BUFFER, NvspType.SEND_SEND_BUF): State.READY,
    (State.SEND_BUFFER, NvspType.REVOKE_RECV_BUF): State.REVOKED,
    (State.READY, NvspType.SEND_RNDIS_PKT): State.READY,
    (State.READY, NvspType.SUBCHANNEL): State.READY,
    (State.READY, NvspType.SWITCH_DATA_PATH): State.READY,
    (State.READY, NvspType.REVOKE_RECV_BUF): State.REVOKED,
    (State.REVOKED, NvspType.REVOKE_SEND_BUF): State.REVOKED,
}
"""Where an accepted message leads. A pair that is missing is out of order.

A refused message (an unknown version, a GPADL that is none) leaves the state as it is.
"""
