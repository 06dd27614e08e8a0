"""NTSTATUS: what control messages and storage packets carry as their status, an unsigned 32-bit number."""

from enum import IntEnum


class NtStatus(IntEnum):
    """The values that VMBus peers send (OpenVMM, ``vmbus_core::protocol`` and ``storvsp_protocol``).

    A server counts every value with the top bit clear as success, but Linux takes anything but 0 for a failure.
    """

    SUCCESS = 0
    BUFFER_OVERFLOW = 0x8000_0005
    UNSUCCESSFUL = 0x8000_FFFF
    """As OpenVMM sends it; the NT value of that name is 0xC0000001. Guests test for non-zero only."""
    INVALID_PARAMETER = 0xC000_000D
    REVISION_MISMATCH = 0xC000_0059
    NO_SUCH_DEVICE = 0xC000_00C0
    CANCELLED = 0xC000_0120
    INVALID_DEVICE_STATE = 0xC000_0184
    IO_DEVICE_ERROR = 0xC000_0185
    CONNECTION_REFUSED = 0xC000_0236
