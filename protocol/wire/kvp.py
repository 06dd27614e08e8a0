"""Key-value pairs: what the host asks of the guest's registry, and what it puts there (uapi/linux/hyperv.h).

Bodies of KVPEXCHANGE frames. Keys and values are UTF-16 with a final NUL, which their sizes count. An enumeration ends
with an answer of status ``IcStatus.CONTINUE``. Left out: IP information, which is an exchange of its own.
"""

from enum import IntEnum

from protocol.errors import PeerError
from protocol.wire.fields import raw, u8, u32
from protocol.wire.layout import DoesNotFit, Structure, structure

MAX_KEY_SIZE = 512
MAX_VALUE_SIZE = 2048
"""Bytes: ``HV_KVP_EXCHANGE_MAX_KEY_SIZE`` and ``..._VALUE_SIZE``."""


class KvpOperation(IntEnum):
    """``enum hv_kvp_exchg_op``."""

    GET = 0
    SET = 1
    DELETE = 2
    ENUMERATE = 3
    GET_IP_INFO = 4
    SET_IP_INFO = 5


class KvpPool(IntEnum):
    """``enum hv_kvp_exchg_pool``: whose data it is. AUTO is what the guest says of itself without being told to."""

    EXTERNAL = 0
    GUEST = 1
    AUTO = 2
    AUTO_EXTERNAL = 3
    AUTO_INTERNAL = 4


class ValueType(IntEnum):
    """``REG_SZ``, ``REG_U32``, ``REG_U64``. Numbers are sent as strings by Linux; OpenVMM calls a 64-bit one 11."""

    STRING = 1
    U32 = 4
    U64 = 8


@structure()
class KvpHeader(Structure):
    """``hv_kvp_hdr``, with which every body begins."""

    operation: int = u8(0)
    pool: int = u8(1, default=0)


@structure()
class KvpExchange(Structure):
    """GET and SET: ``hv_kvp_hdr`` and ``hv_kvp_exchg_msg_value``."""

    operation: int = u8(0)
    pool: int = u8(1)
    value_type: int = u32(4, default=ValueType.STRING)
    key_size: int = u32(8, default=0)
    value_size: int = u32(12, default=0)
    key: bytes = raw(16, MAX_KEY_SIZE, default=b"")
    value: bytes = raw(16 + MAX_KEY_SIZE, MAX_VALUE_SIZE, default=b"")


@structure()
class KvpDelete(Structure):
    """DELETE: ``hv_kvp_hdr`` and ``hv_kvp_msg_delete``."""

    operation: int = u8(0)
    pool: int = u8(1)
    key_size: int = u32(4, default=0)
    key: bytes = raw(8, MAX_KEY_SIZE, default=b"")


@structure()
class KvpEnumerate(Structure):
    """ENUMERATE: ``hv_kvp_hdr`` and ``hv_kvp_msg_enumerate``; the guest fills in the pair that has this index."""

    operation: int = u8(0)
    pool: int = u8(1)
    index: int = u32(4)
    value_type: int = u32(8, default=ValueType.STRING)
    key_size: int = u32(12, default=0)
    value_size: int = u32(16, default=0)
    key: bytes = raw(20, MAX_KEY_SIZE, default=b"")
    value: bytes = raw(20 + MAX_KEY_SIZE, MAX_VALUE_SIZE, default=b"")


def utf16(text: str, limit: int) -> bytes:
    """Text with its NUL. Raises DoesNotFit if that is more than ``limit`` bytes."""
    data = (text + "\0").encode("utf-16-le")
    if len(data) > limit:
        raise DoesNotFit(f"kvp: '{text[:20]}...' takes {len(data)} bytes, at most {limit}")
    return data


def from_utf16(data: bytes, size: int) -> str:
    """The text in the first ``size`` bytes, up to the NUL. Raises PeerError if there are fewer, or if it is no text."""
    if size > len(data):
        raise PeerError(f"kvp: a text of {size} bytes in a field of {len(data)}")
    try:
        return data[:size].decode("utf-16-le").partition("\0")[0]
    except UnicodeDecodeError:
        raise PeerError(f"kvp: no UTF-16 text: {data[:size][:32].hex()}") from None
