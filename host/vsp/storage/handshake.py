"""The conversation that opens a storvsp channel, as a table (``storvsc_channel_init``; OpenVMM ``InitState``).

guest sends                     host answers
BEGIN_INITIALIZATION            success
QUERY_PROTOCOL_VERSION          success, or REVISION_MISMATCH and the guest tries its next version
QUERY_PROPERTIES                sub-channel limit, flags, largest transfer
END_INITIALIZATION              success; from now on SCSI requests are carried out
CREATE_SUB_CHANNELS             success, then the offers; older kernels send it before END_INITIALIZATION
"""

from enum import Enum, auto

from protocol.wire.vstor import Operation


class State(Enum):
    """What the host waits for."""

    BEGIN = auto()
    VERSION = auto()
    PROPERTIES = auto()
    END = auto()
    READY = auto()


NEXT: dict[tuple[State, Operation], State] = {
    (State.BEGIN, Operation.BEGIN_INITIALIZATION): State.VERSION,
    (State.VERSION, Operation.QUERY_PROTOCOL_VERSION): State.PROPERTIES,
    (State.PROPERTIES, Operation.QUERY_PROPERTIES): State.END,
    (State.END, Operation.CREATE_SUB_CHANNELS): State.END,
    (State.END, Operation.END_INITIALIZATION): State.READY,
    (State.READY, Operation.CREATE_SUB_CHANNELS): State.READY,
    (State.READY, Operation.EXECUTE_SRB): State.READY,
    (State.READY, Operation.RESET_LUN): State.READY,
    (State.READY, Operation.RESET_ADAPTER): State.READY,
    (State.READY, Operation.RESET_BUS): State.READY,
}
"""Where an accepted operation leads. A pair that is missing is out of order: INVALID_DEVICE_STATE.

A refused operation (an unknown version, too many sub-channels) leaves the state as it is.
"""
