"""Key-value pairs: the host asks what the guest is, and leaves notes (``hv_kvp_onchannelcallback``)."""

from __future__ import annotations

from typing import Final

from guest.drivers.hv_util.pairs import Pairs
from guest.drivers.hv_util.service import Reply, UtilService, UtilWords
from guest.kernel.core import Core
from guest.kernel.memory import Word
from protocol.wire.guids import HV_KVP_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcStatus, IcVersion
from protocol.wire.kvp import (
    MAX_KEY_SIZE,
    MAX_VALUE_SIZE,
    KvpDelete,
    KvpEnumerate,
    KvpExchange,
    KvpHeader,
    KvpOperation,
    KvpPool,
    from_utf16,
    utf16,
)

AUTO: Final = {
    "FullyQualifiedDomainName": "guest.vmbus-lab",
    "IntegrationServicesVersion": "3.1",
    "NetworkAddressIPv4": "",
    "NetworkAddressIPv6": "",
    "OSBuildNumber": "6.12",
    "OSName": "vmbus-lab",
    "OSMajorVersion": "6",
    "OSMinorVersion": "12",
    "OSVersion": "6.12",
    "ProcessorArchitecture": "x86_64",
}
"""What the guest says of itself, in the order of ``enum key_index`` of hv_kvp_daemon.c."""


class KvpWords(UtilWords):
    """``answered`` counts exchanges, refused ones included."""

    refused = Word("channel callback")


class KvpService(UtilService[KvpWords]):
    """``util_kvp`` and its daemon, ``hv_kvp_daemon``, which is registered from the start and answers at once."""

    class_id = HV_KVP_GUID
    message_type = IcMessage.KVPEXCHANGE
    versions = (IcVersion(4, 0), IcVersion(3, 0), IcVersion(1, 0))
    words = KvpWords

    def __init__(self, core: Core) -> None:
        self._notes = Pairs(core)

    def respond(self, words: KvpWords, frame: IcFrame) -> Reply:
        """``kvp_send_key`` and ``kvp_respond_to_host``. A key that there is not, as the end of a list: HV_S_CONT."""
        header = KvpHeader.decode(frame.body)
        reply: bytes | None = None
        match header.operation:
            case KvpOperation.GET:
                reply = self._get(KvpExchange.decode(frame.body))
            case KvpOperation.SET:
                reply = self._set(KvpExchange.decode(frame.body), frame.body)
            case KvpOperation.DELETE:
                reply = self._delete(KvpDelete.decode(frame.body), frame.body)
            case KvpOperation.ENUMERATE:
                reply = self._enumerate(KvpEnumerate.decode(frame.body))
            case _:
                words.refused += 1
                return Reply(frame.body, IcStatus.FAIL)
        if reply is None:
            words.refused += 1
            return Reply(frame.body, IcStatus.CONTINUE)
        return Reply(reply)

    def _pool(self, pool: int) -> dict[str, str]:
        return AUTO if pool == KvpPool.AUTO else self._notes.of(pool)

    def _get(self, asked: KvpExchange) -> bytes | None:
        found = self._pool(asked.pool).get(from_utf16(asked.key, asked.key_size))
        if found is None:
            return None
        value = utf16(found, MAX_VALUE_SIZE)
        return KvpExchange(
            asked.operation, asked.pool, key_size=asked.key_size, value_size=len(value), key=asked.key, value=value
        ).encode()

    def _set(self, asked: KvpExchange, body: bytes) -> bytes | None:
        key, value = from_utf16(asked.key, asked.key_size), from_utf16(asked.value, asked.value_size)
        return body if asked.pool != KvpPool.AUTO and self._notes.put(asked.pool, key, value) else None

    def _delete(self, asked: KvpDelete, body: bytes) -> bytes | None:
        return body if self._notes.remove(asked.pool, from_utf16(asked.key, asked.key_size)) else None

    def _enumerate(self, asked: KvpEnumerate) -> bytes | None:
        pairs = list(self._pool(asked.pool).items())
        if asked.index >= len(pairs):
            return None
        key, value = utf16(pairs[asked.index][0], MAX_KEY_SIZE), utf16(pairs[asked.index][1], MAX_VALUE_SIZE)
        return KvpEnumerate(
            asked.operation,
            asked.pool,
            asked.index,
            key_size=len(key),
            value_size=len(value),
            key=key,
            value=value,
        ).encode()
