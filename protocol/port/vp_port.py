"""A VP port: the hypervisor's half of one virtual processor, and its link to the host.

One implementation, run inside every vCPU worker and inside the bridge to a real guest; the host talks to ports only and
cannot tell which kind it serves.

*Calls* stop the VP until the host has answered; what arrives meanwhile only sets bits. *Casts* do not wait. A signal
counts as delivered when its bit is set, which is before anything is sent in answer to its envelope, so the
acknowledgement that the host may ask for leaves before any interrupt handler runs, also in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from protocol.ids import VpIndex
from protocol.port.envelope import ACKNOWLEDGE, EnvelopeError, Sequence, ToHost, ToPort, read_to_port, to_host
from protocol.port.synic import RegisterFault, Synic
from protocol.ram import Ram
from protocol.wire.synic import MESSAGE_SIZE, SINT_COUNT, Register

_CAST = ToHost.CAST  # Python 3.11 takes 0.1 us to find a member of an enumeration


class Wire(Protocol):
    """The transport under a port."""

    def send(self, data: bytes) -> None:
        """Hand an envelope to the transport. Fails loudly rather than dropping it."""

    def wait(self) -> None:
        """Block until at least one envelope has been handed to ``VpPort.receive``."""


def _nothing() -> None:
    pass


class VpPort(Synic):
    """The port of one VP."""

    def __init__(self, vp: VpIndex, ram: Ram, wire: Wire) -> None:
        super().__init__(ram)
        self.vp = vp
        self.after_call: Callable[[], None] = _nothing
        """Called when a call returns: the CPU looks at ``pending`` there, as hardware would."""
        self._wire = wire
        self._received = Sequence()
        self._sent = 0
        self._in_call = False
        self._answer: int | None = None
        self._on_success: Callable[[], None] = _nothing
        self._acts: dict[int, Callable[..., None]] = {
            ToPort.MESSAGE: self._message,
            ToPort.ANSWER: self._answered,
            ToPort.RESET: self._start_afresh,
        }

    @property
    def sent(self) -> int:
        """Envelopes sent to the host."""
        return self._sent

    @property
    def received(self) -> int:
        """Envelopes received from the host: how far this port has delivered."""
        return self._received.last

    # --- what the guest's CPU does ------------------------------------------------------------------------------

    def hello(self) -> None:
        """Tell the host that the VP is there."""
        self._send(ToHost.HELLO)

    def hypercall(self, control: int, rdx: int, r8: int = 0) -> int:
        """A hypercall that waits: the 64-bit result (TLFS, hypercall interface; registers as on x86-64)."""
        return self._call(ToHost.HYPERCALL, control, rdx, r8)

    def cast(self, control: int, rdx: int, r8: int = 0) -> None:
        """A fast hypercall whose result nobody looks at: HvSignalEvent and interrupts to other VPs."""
        self._send(_CAST, control, rdx, r8)

    def write_register(self, register: int, value: int) -> None:
        """Write a SynIC register. EOM is the port's own; the others are calls, for the host keeps a shadow of them.

        Raises ``RegisterFault``.
        """
        if register == Register.EOM:
            self._next_messages(self._place_waiting())
            return
        self._check_write(register, value)
        if self._call(ToHost.REGISTER, register, value, on_success=partial(self._written, register, value)):
            raise RegisterFault(f"register {register:#x}: the hypervisor refuses {value:#x}")

    def reset(self) -> None:
        """The VM starts afresh: the registers of all VPs are back to their reset values, on both sides."""
        self._call(ToHost.RESET, on_success=self._start_afresh)

    def crash(self, text: str) -> None:
        """The guest panicked (crash MSRs)."""
        self._send(ToHost.CRASH, text)

    def _call(self, kind: ToHost, *fields: int, on_success: Callable[[], None] = _nothing) -> int:
        assert not self._in_call, "a VP makes one call at a time"
        self._in_call = True
        self._answer = None
        self._on_success = on_success
        self._send(kind, *fields)
        while self._answer is None:
            self._wire.wait()
        self._in_call = False
        answer = self._answer
        self.after_call()
        return answer

    def _send(self, kind: ToHost, *fields: int | str) -> None:
        number = self._sent + 1
        self._wire.send(to_host(number, self._received.last, kind, *fields))
        self._sent = number  # only after a successful send: a failed one may be tried again

    # --- what the host says -------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one envelope: set the bits it carries, do what it says, acknowledge if asked. Runs no handler.

        Raises ``EnvelopeError`` if the transport or the host broke the protocol.
        """
        parts = read_to_port(data)
        self._received.check(parts[0])
        self.counts.envelopes += 1
        if parts[2]:
            self._take_signals(parts[2])
        act = self._acts.get(parts[3])
        if act is not None:
            act(*parts[4:])
        if parts[1] & ACKNOWLEDGE:
            self.counts.acknowledgements += 1
            self._send(ToHost.ACK)

    def _message(self, sint: int, message: bytes) -> None:
        if sint >= SINT_COUNT or len(message) != MESSAGE_SIZE:
            raise EnvelopeError(f"{len(message)} bytes are no message for SINT {sint}")
        if sint in self._waiting:
            raise EnvelopeError(f"a message for SINT {sint} came while another one waits for its slot")
        if self._take_message(sint, message):
            self._send(ToHost.TAKEN, sint)

    def _answered(self, status: int) -> None:
        """A register takes its value when the answer is received, not later: a signal right behind it must find it."""
        if not self._in_call or self._answer is not None:
            raise EnvelopeError("an answer came that nobody waits for")
        if not status:
            self._on_success()
        self._answer = status

    def _written(self, register: int, value: int) -> None:
        self._store(register, value)
        self._next_messages(self._place_waiting())

    def _start_afresh(self) -> None:
        self._next_messages(self._reset())

    def _next_messages(self, sints: list[int]) -> None:
        for sint in sints:
            self._send(ToHost.TAKEN, sint)
