"""A VP port: the hypervisor's half of one virtual processor.

It holds what on hardware belongs to the processor: the SynIC registers, the message page and the event-flags page in
guest RAM, and which vectors are pending. One implementation, run inside every vCPU worker and inside the bridge to a
real guest; the host talks to ports only and cannot tell which kind it serves.

*Calls* stop the VP until the host has answered; what arrives meanwhile only sets bits. *Casts* do not wait. A signal
counts as delivered when its bit is set, which is when ``receive`` returns, so the acknowledgement that the host may
ask for leaves before any interrupt handler runs, also in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protocol.ids import PAGE_SIZE, Sint, VpIndex
from protocol.port.envelope import ACKNOWLEDGE, IPI, Sequence, ToHost, ToPort, read_to_port, to_host
from protocol.ram import Ram
from protocol.wire.synic import (
    FIRST_VALID_VECTOR,
    HVMSG_NONE,
    MESSAGE_PENDING,
    MESSAGE_SIZE,
    SINT_COUNT,
    SLOT,
    Register,
    SintConfig,
    SynicPage,
    event_flag_word,
)

MESSAGE_FLAGS = SLOT.fields["flags"][0]
FLAG_WORDS = 32
"""64-bit words of one SINT's event flags."""
TYPE = 0xFFFF_FFFF
"""``message_type`` within the first word of a slot."""


class Wire(Protocol):
    """The transport under a port."""

    def send(self, data: bytes) -> None:
        """Hand an envelope to the transport. Fails loudly rather than dropping it."""

    def wait(self) -> None:
        """Block until at least one envelope has been handed to ``VpPort.receive``."""


class RegisterFault(Exception):
    """The write is #GP on hardware: a read-only register, a vector below 16, a reserved number."""


@dataclass(slots=True)
class PortCounts:
    """What a port has seen, for the equations of the report. Bits, not envelopes, unless it says so."""

    signals: int = 0
    signals_new: int = 0  # the flag was 0
    signals_merged: int = 0  # the flag was still set
    signals_refused: int = 0  # SynIC, SIEFP or SINT was off
    flags_cleared: int = 0  # by the guest's scan
    messages: int = 0
    messages_refused: int = 0
    ipis: int = 0
    ipis_merged: int = 0
    vectors_raised: int = 0
    vectors_merged: int = 0  # raised while still pending
    vectors_taken: int = 0
    envelopes: int = 0
    acknowledgements: int = 0


class VpPort:
    """The port of one VP. ``pending`` is a bit set of vectors, as the request register of a local APIC."""

    def __init__(self, vp: VpIndex, ram: Ram, wire: Wire, after_call: Callable[[], None] = lambda: None) -> None:
        self.vp = vp
        self.ram = ram
        self.pending = 0
        self.counts = PortCounts()
        self.merged: dict[int, int] = {}
        """Signals that found their flag still set, by event flag."""
        self.after_call = after_call
        """Called when a call returns: the CPU looks at ``pending`` there, as hardware would."""
        self._wire = wire
        self._received = Sequence()
        self._sent = 0
        self._in_call = False
        self._answer: int | None = None
        self._write: tuple[int, int] | None = None
        self._reset_registers()

    def _reset_registers(self) -> None:
        self._registers: dict[int, int] = {Register.SCONTROL: 0, Register.SIEFP: 0, Register.SIMP: 0}
        for number in range(SINT_COUNT):
            self._registers[Register.SINT0 + number] = SintConfig().encode()
        self._vectors: list[int | None] = [None] * SINT_COUNT
        self._flag_base: int | None = None
        self._slot_base: int | None = None
        self._waiting: dict[int, bytes] = {}

    @property
    def sent(self) -> int:
        """Number of the last envelope sent."""
        return self._sent

    @property
    def received(self) -> int:
        """Number of the last envelope received, which is also how far signals are delivered."""
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
        self._send(ToHost.CAST, control, rdx, r8)

    def read_register(self, register: int) -> int:
        """A SynIC register of this VP. Raises ``RegisterFault`` for what is none."""
        if register == Register.SVERSION:
            return 1
        if register == Register.EOM:
            return 0
        value = self._registers.get(register)
        if value is None:
            raise RegisterFault(f"register {register:#x} is not a SynIC register")
        return value

    def write_register(self, register: int, value: int) -> None:
        """Write a SynIC register. EOM is the port's own; the others are calls, for the host keeps a shadow of them."""
        if register == Register.EOM:
            self._end_of_message()
            return
        if register not in self._registers:
            raise RegisterFault(f"register {register:#x} cannot be written")
        if register >= Register.SINT0:
            sint = SintConfig.decode(value)
            if not sint.masked and sint.vector < FIRST_VALID_VECTOR:
                raise RegisterFault(
                    f"SINT{register - Register.SINT0}: vector {sint.vector} is below {FIRST_VALID_VECTOR}"
                )
        self._write = (register, value)
        self._call(ToHost.REGISTER, register, value)

    def reset(self) -> None:
        """The VM starts afresh: registers back to their reset values on both sides."""
        self._call(ToHost.RESET)
        self._reset_registers()

    def crash(self, text: str) -> None:
        """The guest panicked (crash MSRs)."""
        self._send(ToHost.CRASH, text)

    def raise_vector(self, vector: int) -> None:
        """Make a vector pending on this VP, as a local timer does."""
        counts = self.counts
        counts.vectors_raised += 1
        bit = 1 << vector
        if self.pending & bit:
            counts.vectors_merged += 1
        self.pending |= bit

    def take_vector(self) -> int:
        """Acknowledge the highest pending vector."""
        vector = self.pending.bit_length() - 1
        self.pending ^= 1 << vector
        self.counts.vectors_taken += 1
        return vector

    def message_slot(self, sint: Sint) -> memoryview | None:
        """The 256-byte slot of a SINT in the message page, None while the page is off."""
        if self._slot_base is None:
            return None
        start = self._slot_base + sint * MESSAGE_SIZE
        slot: memoryview = self.ram.bytes[start : start + MESSAGE_SIZE]
        return slot

    def flag_words(self, sint: Sint) -> memoryview | None:
        """The 32 words of a SINT's event flags, None while the page is off."""
        if self._flag_base is None:
            return None
        start = self._flag_base // 8 + sint * FLAG_WORDS
        words: memoryview = self.ram.words[start : start + FLAG_WORDS]
        return words

    def _end_of_message(self) -> None:
        for sint in list(self._waiting):
            self._place(sint)

    def _call(self, kind: ToHost, *fields: int) -> int:
        assert not self._in_call, "a VP makes one call at a time"
        self._in_call = True
        self._answer = None
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
        for signal in parts[2]:
            if signal >= IPI:
                self._interrupt(signal - IPI)
            else:
                self._set_flag(signal >> 16, signal & 0xFFFF)
        kind = parts[3]
        if kind == ToPort.MESSAGE:
            self._message(parts[4], parts[5])
        elif kind == ToPort.ANSWER:
            self._apply_write(parts[4])
            self._answer = parts[4]
        if parts[1] & ACKNOWLEDGE:
            self.counts.acknowledgements += 1
            self._send(ToHost.ACK)

    def _interrupt(self, vector: int) -> None:
        self.counts.ipis += 1
        if self.pending >> vector & 1:
            self.counts.ipis_merged += 1
        self.raise_vector(vector)

    def _set_flag(self, sint: int, flag: int) -> None:
        counts = self.counts
        counts.signals += 1
        vector = self._vectors[sint]
        if vector is None or self._flag_base is None:
            counts.signals_refused += 1
            return
        offset, bit = event_flag_word(sint, flag)
        index = self._flag_base // 8 + offset
        words = self.ram.words
        if words[index] & bit:
            counts.signals_merged += 1
            self.merged[flag] = self.merged.get(flag, 0) + 1
            return
        words[index] |= bit
        counts.signals_new += 1
        self.raise_vector(vector)

    def _message(self, sint: int, message: bytes) -> None:
        self.counts.messages += 1
        if self._slot_base is None or self._vectors[sint] is None:
            self.counts.messages_refused += 1
            self._send(ToHost.TAKEN, sint)
            return
        self._waiting[sint] = message
        slot = self._slot_base + sint * MESSAGE_SIZE
        if self.ram.words[slot // 8] & TYPE != HVMSG_NONE:
            self.ram.bytes[slot + MESSAGE_FLAGS] |= MESSAGE_PENDING
            # Look again: a guest on another processor may have emptied the slot before it could see the flag.
            if self.ram.words[slot // 8] & TYPE != HVMSG_NONE:
                return
        self._place(sint)

    def _place(self, sint: int) -> None:
        """Put the waiting message into its slot: payload first, the type last, then the vector and the next one."""
        vector = self._vectors[sint]
        if self._slot_base is None or vector is None:
            return
        slot = self._slot_base + sint * MESSAGE_SIZE
        if self.ram.words[slot // 8] & TYPE != HVMSG_NONE:
            return
        message = self._waiting.pop(sint)
        self.ram.bytes[slot + 8 : slot + MESSAGE_SIZE] = message[8:]
        self.ram.words[slot // 8] = int.from_bytes(message[:8], "little")
        self.raise_vector(vector)
        self._send(ToHost.TAKEN, sint)

    def _apply_write(self, status: int) -> None:
        """The register takes its value when the answer is received: a signal right behind it must find it."""
        if self._write is None:
            return
        register, value = self._write
        self._write = None
        if status:
            return
        registers = self._registers
        before = registers[register]
        registers[register] = value
        enabled = registers[Register.SCONTROL] & 1
        siefp, simp = SynicPage.decode(registers[Register.SIEFP]), SynicPage.decode(registers[Register.SIMP])
        if register in (Register.SIEFP, Register.SIMP) and value & ~before & 1:
            self.ram.page(SynicPage.decode(value).pfn)[:] = bytes(PAGE_SIZE)
        self._flag_base = siefp.pfn * PAGE_SIZE if enabled and siefp.enabled else None
        self._slot_base = simp.pfn * PAGE_SIZE if enabled and simp.enabled else None
        for number in range(SINT_COUNT):
            sint = SintConfig.decode(registers[Register.SINT0 + number])
            self._vectors[number] = None if sint.masked else sint.vector
