"""Hypercalls of the guest: the convention, HvPostMessage, HvSignalEvent, and interrupts from one VP to others (TLFS).

Ports and connections are one table each: a connection id leads to a message port or to an event port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from protocol.ids import PAGE_SIZE, VpIndex
from protocol.journal import Journal
from protocol.ram import Ram
from protocol.wire.hypercall import (
    POST_MESSAGE,
    BadHypercall,
    Code,
    ControlWord,
    PostMessageInput,
    SignalEventInput,
    Status,
)
from protocol.wire.synic import EVENT_FLAGS, FIRST_VALID_VECTOR

_POST_MESSAGE = int(Code.POST_MESSAGE)
_SUCCESS = Status.SUCCESS
"""Python 3.11 takes 0.1 us to find a member of an enumeration, which a doorbell would notice."""
NOWHERE = 0
"""No connection has this number."""
_signal_event_input = lru_cache(maxsize=256)(SignalEventInput.decode)


def _nothing() -> None:
    pass


@dataclass(slots=True)
class HypercallOptions:
    """Named behaviours of the host. The defaults are what hardware does."""

    post_statuses: list[Status] = field(default_factory=list)
    """Fault: what the next HvPostMessage calls are answered instead of being carried out; SUCCESS lets one pass."""


class Hypercalls:
    """What a VP can ask of the hypervisor. ``interrupt(vp, vector)`` raises a vector on another VP."""

    def __init__(
        self,
        vps: int,
        ram: Ram,
        interrupt: Callable[[VpIndex, int], None],
        options: HypercallOptions,
        journal: Journal | None,
    ) -> None:
        self.messages: dict[int, Callable[[VpIndex, bytes], None]] = {}
        self.events: dict[int, Callable[[], None]] = {}
        self.unheard: dict[int, int] = {NOWHERE: 0}
        """HvSignalEvent by connections at which nobody listens any more; NOWHERE: at which nobody ever has."""
        self._vps = vps
        self._ram = ram
        self._interrupt = interrupt
        self._options = options
        self._journal = journal
        self._short: dict[int, tuple[int, Callable[[VpIndex, int, int], Status]]] = {
            Code.SIGNAL_EVENT: (8, self._signal_event),
            Code.SEND_IPI: (16, self._send_ipi),
        }
        """Calls whose input fits two registers: its size in memory if the call is made slowly, and what it does."""
        self._fast = {ControlWord(Code(code), fast=True).encode(): act for code, (_, act) in self._short.items()}
        """The same by the control word with which they are made fast: it has no other bits to set."""

    def call(self, vp: VpIndex, control: int, rdx: int, r8: int) -> tuple[Status, Callable[[], None]]:
        """Carry out a hypercall: its status, and what is to happen once the caller has it.

        A posted message is handled after the answer, so that the caller's HvPostMessage returns before anything that
        its message brings about reaches the VP.
        """
        try:
            fast = self._fast.get(control)
            if fast is not None:
                return fast(vp, rdx, r8), _nothing
            word = ControlWord.decode(control)
            if word.rep_count or word.rep_start or word.variable_header or word.nested:
                return Status.INVALID_HYPERCALL_INPUT, _nothing
            if word.code == _POST_MESSAGE and not word.fast:
                return self._post_message(vp, self._input(rdx, POST_MESSAGE.size))
            short = self._short.get(word.code)
            if short is None:
                return Status.INVALID_HYPERCALL_CODE, _nothing
            size, carry_out = short
            words = memoryview(self._input(rdx, size)).cast("Q")
            return carry_out(vp, words[0], words[-1]), _nothing
        except BadHypercall as refused:
            return refused.status, _nothing

    def _input(self, gpa: int, size: int) -> bytes:
        """The input of a hypercall that is not fast."""
        if gpa % 8 or gpa % PAGE_SIZE + size > PAGE_SIZE:
            raise BadHypercall(Status.INVALID_ALIGNMENT, f"input at {gpa:#x}")
        if gpa >= self._ram.pages * PAGE_SIZE:
            raise BadHypercall(Status.INVALID_PARAMETER, f"input at {gpa:#x} is beyond the guest's memory")
        return self._ram.bytes[gpa : gpa + size].tobytes()

    def _post_message(self, vp: VpIndex, data: bytes) -> tuple[Status, Callable[[], None]]:
        request = PostMessageInput.decode(data)
        handler = self.messages.get(request.connection_id)
        status = self._options.post_statuses.pop(0) if self._options.post_statuses else Status.SUCCESS
        if status == Status.SUCCESS and handler is None:
            known = request.connection_id in self.events
            status = Status.INVALID_PORT_ID if known else Status.INVALID_CONNECTION_ID
        if self._journal:
            self._journal("post", vp, int(status), request.payload)
        if status != Status.SUCCESS or handler is None:
            return status, _nothing
        return status, lambda: handler(vp, request.payload)

    def _signal_event(self, vp: VpIndex, rdx: int, r8: int) -> Status:
        request = _signal_event_input(rdx)
        handler = self.events.get(request.connection_id)
        if handler is None:
            known = request.connection_id in self.messages
            status = Status.INVALID_PORT_ID if known else Status.INVALID_CONNECTION_ID
            self.unheard[request.connection_id if request.connection_id in self.unheard else NOWHERE] += 1
        elif request.flag:  # the VMBus's ports have one flag; KVM and QEMU do not tell the two refusals apart
            handler = None
            status = Status.INVALID_PARAMETER if request.flag >= EVENT_FLAGS else Status.INVALID_PORT_ID
        else:
            status = _SUCCESS
        if self._journal:
            self._journal("doorbell", vp, int(status), request.connection_id)
        if handler is not None:
            handler()
        return status

    def _send_ipi(self, vp: VpIndex, vector: int, mask: int) -> Status:
        """HvCallSendSyntheticClusterIpi: vector in the low 32 bits, target VTL (here always 0) above, VP mask."""
        if not FIRST_VALID_VECTOR <= vector <= 255:
            return Status.INVALID_PARAMETER
        if mask >> self._vps:
            return Status.INVALID_VP_INDEX
        while mask:
            low = mask & -mask
            mask ^= low
            self._interrupt(VpIndex(low.bit_length() - 1), vector)
        return Status.SUCCESS
