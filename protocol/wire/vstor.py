"""The storage protocol of storvsc: one 64-byte packet for everything, answered by a completion of the same form.

Layouts and numbers from Linux's drivers/scsi/storvsc_drv.c (``vstor_packet``, ``vmscsi_request``) and OpenVMM's
storvsp_protocol; no header of the kernel has them. The data itself is in the GPA-direct ranges of the ring packet.
"""

from enum import IntEnum, IntFlag

from protocol.wire.fields import raw, u8, u16, u32
from protocol.wire.layout import Structure, structure

PACKET_SIZE = 64
BODY_AT = 12
BODY_SIZE = 52

VERSIONS = (0x0602, 0x0600, 0x0501)
"""Protocol versions in the order Linux tries them: 6.2, 6.0, 5.1."""

INIT_TRANSACTION = 2**64 - 3
"""Transaction id of every packet of the handshake (``VMBUS_RQST_INIT``)."""
RESET_TRANSACTION = 2**64 - 4
"""Transaction id of a bus reset (``VMBUS_RQST_RESET``)."""


class Operation(IntEnum):
    """``enum vstor_packet_operation``."""

    COMPLETE_IO = 1
    REMOVE_DEVICE = 2
    EXECUTE_SRB = 3
    RESET_LUN = 4
    RESET_ADAPTER = 5
    RESET_BUS = 6
    BEGIN_INITIALIZATION = 7
    END_INITIALIZATION = 8
    QUERY_PROTOCOL_VERSION = 9
    QUERY_PROPERTIES = 10
    ENUMERATE_BUS = 11
    FCHBA_DATA = 12
    CREATE_SUB_CHANNELS = 13
    EVENT_NOTIFICATION = 14


REQUEST_COMPLETION = 0x1
"""Packet flag: answer with a completion."""
SUPPORTS_MULTI_CHANNEL = 0x1
"""Flag of ``Properties``."""


class DataIn(IntEnum):
    """Direction of the data."""

    WRITE = 0
    READ = 1
    NONE = 2


class SrbStatus(IntEnum):
    """``SRB_STATUS_*``, low six bits of ``srb_status``."""

    SUCCESS = 0x01
    ABORTED = 0x02
    ERROR = 0x04
    BUSY = 0x05
    INVALID_REQUEST = 0x06
    NO_DEVICE = 0x08
    TIMEOUT = 0x09
    DATA_OVERRUN = 0x12
    INVALID_LUN = 0x20
    INVALID_TARGET_ID = 0x21
    INTERNAL_ERROR = 0x30


AUTOSENSE_VALID = 0x80
"""In ``srb_status``: the sense bytes mean something. Without it Linux does not look at them."""
QUEUE_FROZEN = 0x40


class ScsiStatus(IntEnum):
    """SAM status bytes."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28


class SrbFlags(IntFlag):
    """``SRB_FLAGS_*``."""

    QUEUE_ACTION_ENABLE = 0x2
    DISABLE_SYNCH_TRANSFER = 0x8
    DATA_IN = 0x40
    DATA_OUT = 0x80
    NO_QUEUE_FREEZE = 0x100


@structure()
class VstorPacket(Structure):
    """What every packet is; ``body`` is a VmscsiRequest, ProtocolVersion, Properties or SubChannels, or nothing."""

    operation: int = u32(0)
    flags: int = u32(4, default=0)
    status: int = u32(8, default=0)
    body: bytes = raw(BODY_AT, BODY_SIZE, default=bytes(BODY_SIZE))


@structure()
class VmscsiRequest(Structure):
    """Body of EXECUTE_SRB and of its completion. Decode it straight from the packet: ``decode(packet, BODY_AT)``.

    ``cdb_or_sense`` is the command on the way in (16 bytes of 20) and sense data on the way back. The completion's
    ``data_transfer_length`` is the number of bytes really moved.
    """

    length: int = u16(0, default=BODY_SIZE)
    srb_status: int = u8(2, default=0)
    scsi_status: int = u8(3, default=0)
    port_number: int = u8(4, default=0)
    path_id: int = u8(5, default=0)
    target_id: int = u8(6, default=0)
    lun: int = u8(7, default=0)
    cdb_length: int = u8(8, default=0)
    sense_info_length: int = u8(9, default=20)
    data_in: int = u8(10, default=DataIn.NONE)
    data_transfer_length: int = u32(12, default=0)
    cdb_or_sense: bytes = raw(16, 20, default=bytes(20))
    queue_tag: int = u8(38, default=0xFF)
    queue_action: int = u8(39, default=0x20)
    srb_flags: int = u32(40, default=0)
    time_out_value: int = u32(44, default=60)
    queue_sort_key: int = u32(48, default=0)


@structure()
class ProtocolVersion(Structure):
    """Body of QUERY_PROTOCOL_VERSION: major in the upper byte, minor in the lower."""

    version: int = u16(0)
    revision: int = u16(2, default=0)


@structure(size=24)
class Properties(Structure):
    """Body of the answer to QUERY_PROPERTIES (``vmstorage_channel_properties``)."""

    max_channel_count: int = u16(4)
    flags: int = u32(8)
    max_transfer_bytes: int = u32(12)


@structure()
class SubChannels(Structure):
    """Body of CREATE_SUB_CHANNELS: how many more channels the guest wants."""

    count: int = u16(0)
