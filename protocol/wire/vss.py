"""Volume shadow copies: the host freezes the guest's file systems for a backup (uapi/linux/hyperv.h, hv_snapshot.c).

Bodies of VSS frames. Whether an operation succeeded is the status of the frame that answers it.
"""

from enum import IntEnum

from protocol.wire.fields import u8, u32
from protocol.wire.layout import Structure, structure


class VssOperation(IntEnum):
    """``enum hv_vss_op``. Linux does something at HOT_BACKUP, GET_DM_INFO, FREEZE and THAW."""

    CREATE = 0
    DELETE = 1
    HOT_BACKUP = 2
    GET_DM_INFO = 3
    BU_COMPLETE = 4
    FREEZE = 5
    THAW = 6
    AUTO_RECOVER = 7


@structure()
class VssMessage(Structure):
    """``hv_vss_msg``. ``flags`` are those of the answer to GET_DM_INFO, and should be of that to HOT_BACKUP."""

    operation: int = u8(0)
    flags: int = u32(8, default=0)
