"""Asking the host: NVSP requests and RNDIS control messages, one at a time, and the answers to them.

netvsc.c waits on ``channel_init_wait``, rndis_filter.c on the ``wait_event`` of a request. Whoever asks holds rtnl, so
one place for the answer is enough.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, TypeVar

from guest.drivers.netvsc.words import ANSWER_SIZE, NetvscDeviceWords
from guest.kernel.core import Core
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.errors import VmbusError
from protocol.errors import PeerError
from protocol.ids import Cpu, Pfn
from protocol.ring import COMPLETION_REQUESTED
from protocol.wire.gpadl import GpaRange
from protocol.wire.nvsp import NvspMessage, RndisPacket, type_of
from protocol.wire.nvsp_numbers import ChannelType
from protocol.wire.rndis import (
    COMPLETION,
    Halt,
    Initialize,
    InitializeComplete,
    Query,
    QueryComplete,
    RndisStatus,
    Set,
    SetComplete,
)

VMBUS_RQST_INIT: Final = (1 << 64) - 3
"""Transaction id of whatever is not a frame. Frames have their slot + 1."""
RESCIND_LOOK: Final = 0.1
"""Seconds. Linux waits for the host's answer for ever, even when the channel is rescinded; this guest looks now and
then whether one can still come."""

A = TypeVar("A", bound=NvspMessage)
T = TypeVar("T")


class Exchange:
    """One CPU's view of the conversation on the primary channel of a NIC.

    Methods raise VmbusError: ENODEV (rescinded, or given up), EAGAIN (no room in the ring), EIO (the host has corrupted
    it), EINVAL (the answer makes no sense).
    """

    def __init__(self, core: Core, channel: VmbusChannel, words: NetvscDeviceWords) -> None:
        self.channel = channel
        self._core = core
        self._words = words

    # --- NVSP -------------------------------------------------------------------------------------------------------

    async def nvsp(self, request: NvspMessage, answer: type[A]) -> A:
        """Ask, and wait for a completion that is an ``answer``."""
        self._expect(answer.type)
        self._send(lambda: self.channel.send_packet(request.encode(), VMBUS_RQST_INIT, flags=COMPLETION_REQUESTED))
        return _sensible(answer.decode, await self._answer(answer.type.name))

    def tell(self, message: NvspMessage) -> None:
        """Send what has no answer."""
        self._send(lambda: self.channel.send_packet(message.encode(), VMBUS_RQST_INIT))

    # --- RNDIS ------------------------------------------------------------------------------------------------------

    async def initialize(self) -> InitializeComplete:
        """``rndis_filter_init_device``. Raises EINVAL if the host refuses."""
        answer = await self._rndis(Initialize(self._next_id()).encode(), InitializeComplete.type)
        complete = _sensible(InitializeComplete.decode, answer)
        if complete.status != RndisStatus.SUCCESS:
            raise VmbusError(errno.EINVAL, f"netvsc: RNDIS INITIALIZE failed with {complete.status:#x}")
        return complete

    async def query(self, oid: int, information: bytes = b"") -> bytes:
        """``rndis_filter_query_device``: the value. Raises EINVAL if the host has none, whatever status it gives."""
        request = Query(self._next_id(), oid).with_information(information)
        answer = await self._rndis(request, QueryComplete.type)
        value = _sensible(lambda data: bytes(QueryComplete.decode(data).information(data)), answer)
        if not value:
            raise VmbusError(errno.EINVAL, f"netvsc: the host does not know OID {oid:#010x}")
        return value

    async def set(self, oid: int, value: bytes) -> None:
        """Raises EINVAL if the host refuses."""
        request = Set(self._next_id(), oid).with_information(value)
        answer = await self._rndis(request, SetComplete.type)
        status = _sensible(SetComplete.decode, answer).status
        if status != RndisStatus.SUCCESS:
            raise VmbusError(errno.EINVAL, f"netvsc: the host refuses OID {oid:#010x} with {status:#x}")

    def halt(self) -> None:
        """The end of the conversation; not answered."""
        self._send_rndis(Halt(self._next_id()).encode())

    async def _rndis(self, request: bytes, expected: int) -> bytes:
        self._expect(expected)
        self._send_rndis(request)
        return await self._answer("an RNDIS request")

    def _send_rndis(self, request: bytes) -> None:
        """``rndis_filter_send_request``: from the request page, with a completion that nobody waits for."""
        page = Pfn(self._words.request_pfn)
        self._core.ram.page(page)[: len(request)] = request
        range = GpaRange(len(request), 0, (page,))
        payload = RndisPacket(ChannelType.CONTROL).encode()
        self._send(lambda: self.channel.send_gpa_direct((range,), payload, VMBUS_RQST_INIT, COMPLETION_REQUESTED))

    def _next_id(self) -> int:
        words = self._words
        words.request_id = words.request_id + 1 & 0xFFFF_FFFF
        return words.request_id

    # --- both -------------------------------------------------------------------------------------------------------

    def _expect(self, kind: int) -> None:
        words = self._words
        words.asking_cpu = self._core.cpu
        words.answered = 0
        words.expected = kind

    def _send(self, send: Callable[[], bool]) -> None:
        try:
            sent = send()
        except PeerError as error:
            raise VmbusError(errno.EIO, f"netvsc: {error}") from None
        if not sent:
            raise VmbusError(errno.EAGAIN, "netvsc: no room in the ring")

    async def _answer(self, what: str) -> bytes:
        words = self._words
        await self.wait(lambda: words.answered != 0, what)
        return words.answer[: words.answered]

    async def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what the host must do; whoever makes it true calls ``wake``."""
        words = self.channel.words
        while not await self._core.wait_until(
            lambda: condition() or words.rescind != 0 or not words.callback, RESCIND_LOOK
        ):
            pass
        if not condition():
            raise VmbusError(errno.ENODEV, f"netvsc: nobody listens any more for {what}")

    # --- softirq context, on whatever CPU polls the channel ---------------------------------------------------------

    def take_nvsp(self, payload: bytes) -> bool:
        """A completion of ours. False: nobody waits for such a message."""
        return self._take(type_of(payload), payload)

    def take_rndis(self, kind: int, message: bytes) -> bool:
        """``rndis_filter_receive_response``. False: it does not answer the request that is under way."""
        request_id = int.from_bytes(message[8:12], "little")
        return bool(kind & COMPLETION) and request_id == self._words.request_id and self._take(kind, message)

    def _take(self, kind: int, answer: bytes) -> bool:
        words = self._words
        if kind != words.expected:
            return False
        words.expected = 0
        words.answer = answer[:ANSWER_SIZE]
        words.answered = min(len(answer), ANSWER_SIZE)
        self.wake()
        return True

    def wake(self) -> None:
        """``complete``: let the task that waits look again."""
        self._core.reschedule(Cpu(self._words.asking_cpu))


def _sensible(decode: Callable[[bytes], T], answer: bytes) -> T:
    try:
        return decode(answer)
    except PeerError as error:
        raise VmbusError(errno.EINVAL, f"netvsc: {error}") from None
