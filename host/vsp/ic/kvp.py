"""Key-value pairs: the host reads and writes the guest's registry (``hv_kvp_onchannelcallback``)."""

from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from host.vsp.device import Services
from host.vsp.ic.component import Component
from host.vsp.ic.offers import ic_offer
from host.vsp.kind import Answered
from host.vsp.periodic import Periodic
from protocol.errors import OperatorError
from protocol.wire.guids import HV_KVP_GUID
from protocol.wire.ic import IcFrame, IcMessage, IcStatus, IcVersion
from protocol.wire.kvp import (
    MAX_KEY_SIZE,
    MAX_VALUE_SIZE,
    KvpDelete,
    KvpEnumerate,
    KvpExchange,
    KvpOperation,
    KvpPool,
    from_utf16,
    utf16,
)

VERSIONS: Final = (IcVersion(1, 0), IcVersion(3, 0), IcVersion(4, 0))
INSTANCE: Final = UUID("242ff919-07db-4180-9c2e-b86cb68c8c55")
MAX_PAIRS: Final = 1024
"""An enumeration that has not ended by then is given up: a guest may answer for ever."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the guest answered, a dictionary for whoever asked: ``IcStatus``, and the pairs that it told."""

    status: int
    pairs: dict[str, str]


class Kvp(Component):
    """Silent after negotiation until somebody asks; one exchange at a time, as hv_kvp.c relies on.

    Linux negotiates when its daemon registers, or after 55 s, and without a daemon it answers every question with
    ``HV_E_FAIL``. ``every``: seconds between enumerations of what the guest says of itself; 0: none.
    """

    def __init__(self, services: Services, every: float = 0.0) -> None:
        super().__init__(services, ic_offer(HV_KVP_GUID, INSTANCE), IcMessage.KVPEXCHANGE, VERSIONS)
        self._polling = Periodic(services, every, self._poll)
        self._answered: Answered | None = None
        self._operation = KvpOperation.GET
        self._pool: int = KvpPool.AUTO
        self._index = 0
        self.pairs: dict[str, str] = {}
        """What the last enumeration has found."""

    def get(self, answered: Answered, pool: int, key: str) -> None:
        """Ask for the value of a key. All of these raise OperatorError if the guest cannot be asked now."""
        name = utf16(key, MAX_KEY_SIZE)
        body = KvpExchange(KvpOperation.GET, pool, key_size=len(name), key=name)
        self._ask(KvpOperation.GET, pool, body.encode(), answered)

    def set(self, answered: Answered, pool: int, key: str, value: str) -> None:
        """Put a pair into a pool of the guest."""
        name, text = utf16(key, MAX_KEY_SIZE), utf16(value, MAX_VALUE_SIZE)
        body = KvpExchange(KvpOperation.SET, pool, key_size=len(name), value_size=len(text), key=name, value=text)
        self._ask(KvpOperation.SET, pool, body.encode(), answered)

    def delete(self, answered: Answered, pool: int, key: str) -> None:
        """Take a pair out of a pool of the guest."""
        name = utf16(key, MAX_KEY_SIZE)
        body = KvpDelete(KvpOperation.DELETE, pool, len(name), name)
        self._ask(KvpOperation.DELETE, pool, body.encode(), answered)

    def enumerate(self, answered: Answered, pool: int = KvpPool.AUTO) -> None:
        """All pairs of a pool, one exchange for each."""
        self._ask(KvpOperation.ENUMERATE, pool, KvpEnumerate(KvpOperation.ENUMERATE, pool, 0).encode(), answered)

    def on_agreed(self) -> None:
        self._polling.start()

    def on_answer(self, frame: IcFrame) -> None:
        """An answer that cannot be read is complained about, and is a failure for whoever asked."""
        status, pairs = IcStatus.FAIL, self.pairs
        try:
            if frame.status:
                return
            if self._operation is KvpOperation.ENUMERATE:
                pair = KvpEnumerate.decode(frame.body)
                pairs[from_utf16(pair.key, pair.key_size)] = from_utf16(pair.value, pair.value_size)
            elif self._operation is KvpOperation.GET:
                found = KvpExchange.decode(frame.body)
                pairs[from_utf16(found.key, found.key_size)] = from_utf16(found.value, found.value_size)
            status = IcStatus.OK
        finally:
            self._go_on(frame.status or status)

    def on_close(self) -> None:
        self._polling.stop()
        self._finish(None)

    def _go_on(self, status: int) -> None:
        """Ask for the next pair, or tell what there is."""
        if self._operation is KvpOperation.ENUMERATE:
            if status == IcStatus.OK and self._index < MAX_PAIRS:
                self._index += 1
                if self.request(KvpEnumerate(self._operation, self._pool, self._index).encode()):
                    return
                status = IcStatus.FAIL
            status = IcStatus.OK if status == IcStatus.CONTINUE else status
        self._finish(Outcome(status, dict(self.pairs)))

    def _ask(self, operation: KvpOperation, pool: int, body: bytes, answered: Answered) -> None:
        if self.version is None:
            raise OperatorError(
                "the guest has not negotiated key-value pairs: Linux does so after 55 s or when its daemon starts"
            )
        if self._answered:
            raise OperatorError("the guest is being asked already: wait for its answer")
        self._operation, self._pool, self._index, self.pairs = operation, pool, 0, {}
        self._answered = answered
        if not self.request(body):
            self._answered = None
            raise OperatorError("the guest does not read its key-value channel")

    def _finish(self, outcome: Outcome | None) -> None:
        answered, self._answered = self._answered, None
        if answered:
            answered(outcome and asdict(outcome))

    def _poll(self) -> None:
        self.enumerate(lambda _: None)
