"""The numbers of NVSP: versions, message types, statuses, identifiers and limits (Linux, hyperv_net.h)."""

from enum import IntEnum, IntFlag
from typing import Final

HEADER_SIZE: Final = 4
MESSAGE_SIZE: Final = 40
"""``sizeof(struct nvsp_message)`` since version 6. Linux reads that much of a completion, whatever its type."""

RECEIVE_BUFFER_ID: Final = 0xCAFE
"""Transfer page set of the receive buffer."""
SEND_BUFFER_ID: Final = 0
NO_SECTION: Final = 0xFFFF_FFFF
"""Section index of a message that is not in the send buffer (``NETVSC_INVALID_INDEX``)."""
NO_LEGACY_VERSION: Final = 0xFFFF_FFFF
"""What hosts of today answer as ``negotiated_protocol_ver``; Linux does not look."""
SEND_TABLE_SIZE: Final = 16
"""Entries of the send indirection table (``VRSS_SEND_TAB_SIZE``)."""
MAX_CHANNELS: Final = 64
"""``VRSS_CHANNEL_MAX``."""
MAX_RANGES: Final = 375
"""Ranges of one transfer-page packet that a guest without RSC takes (hyperv_net.h, at ``NVSP_RSC_MAX``)."""


class NvspVersion(IntEnum):
    """``NVSP_PROTOCOL_VERSION_*``. Linux asks for them from the last to the first, one at a time."""

    V1 = 2
    V2 = 0x30002
    V4 = 0x40000
    V5 = 0x50000
    V6 = 0x60000
    V6_1 = 0x60001


class NvspType(IntEnum):
    """``NVSP_MSG*_TYPE_*``."""

    INIT = 1
    INIT_COMPLETE = 2
    SEND_NDIS_VERSION = 100
    SEND_RECV_BUF = 101
    SEND_RECV_BUF_COMPLETE = 102
    REVOKE_RECV_BUF = 103
    SEND_SEND_BUF = 104
    SEND_SEND_BUF_COMPLETE = 105
    REVOKE_SEND_BUF = 106
    SEND_RNDIS_PKT = 107
    SEND_RNDIS_PKT_COMPLETE = 108
    SEND_NDIS_CONFIG = 125
    SEND_VF_ASSOCIATION = 128
    SWITCH_DATA_PATH = 129
    SUBCHANNEL = 133
    SEND_INDIRECTION_TABLE = 134


class NvspStatus(IntEnum):
    """``NVSP_STAT_*``."""

    NONE = 0
    SUCCESS = 1
    FAIL = 2
    PROTOCOL_TOO_NEW = 3
    PROTOCOL_TOO_OLD = 4
    INVALID_RNDIS_PKT = 5
    BUSY = 6
    PROTOCOL_UNSUPPORTED = 7


class Capability(IntFlag):
    """``nvsp_2_vsc_capability``: what the guest's NIC driver can do."""

    VMQ = 1 << 0
    CHIMNEY = 1 << 1
    SRIOV = 1 << 2
    IEEE8021Q = 1 << 3
    CORRELATION_ID = 1 << 4
    TEAMING = 1 << 5
    VSUBNETID = 1 << 6
    RSC = 1 << 7


class ChannelType(IntEnum):
    """Which of the two channels of RNDIS a message belongs to (``RMC_DATA``, ``RMC_CONTROL``)."""

    DATA = 0
    CONTROL = 1


class DataPath(IntEnum):
    """``enum nvsp_vm_datapath``."""

    SYNTHETIC = 0
    VF = 1


SUBCHANNEL_ALLOCATE: Final = 1
"""The only operation of ``SubChannelRequest`` (``NVSP_SUBCHANNEL_ALLOCATE``)."""
