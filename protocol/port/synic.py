"""What a virtual processor has of the SynIC and of its local APIC: registers, the two pages, pending vectors.

The pages are guest RAM (the TLFS overlays them, KVM does as we do). Nothing here talks to the host.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.ids import PAGE_SIZE, Sint
from protocol.port.envelope import IPI
from protocol.ram import Ram
from protocol.wire.synic import (
    CONTROL_ENABLE,
    EVENT_FLAGS,
    FIRST_VALID_VECTOR,
    HVMSG_NONE,
    MESSAGE_PENDING,
    MESSAGE_SIZE,
    SINT_COUNT,
    SLOT,
    Register,
    SintConfig,
    SynicPage,
)

MESSAGE_FLAGS = SLOT.fields["flags"][0]
FLAG_WORDS = EVENT_FLAGS // 64
"""64-bit words of one SINT's event flags."""
TYPE = 0xFFFF_FFFF
"""``message_type`` within the first word of a slot."""


class RegisterFault(Exception):
    """The write is #GP on hardware: a read-only register, a vector below 16, a page that is not there."""


@dataclass(slots=True)
class PortCounts:
    """What a port has seen, for the equations of the report. Bits, not envelopes, unless it says so."""

    signals: int = 0
    signals_new: int = 0  # the flag was 0
    signals_merged: int = 0  # the flag was still set
    signals_refused: int = 0  # SynIC, SIEFP or SINT was off
    messages: int = 0
    messages_refused: int = 0  # SynIC, SIMP or SINT was off, or a reset came before the slot was free
    ipis: int = 0
    ipis_merged: int = 0
    vectors_raised: int = 0
    vectors_merged: int = 0  # raised while still pending
    vectors_taken: int = 0
    envelopes: int = 0
    acknowledgements: int = 0


def reset_values() -> dict[int, int]:
    """The SynIC's writable registers as a VP has them after reset (TLFS)."""
    values: dict[int, int] = {Register.SCONTROL: 0, Register.SIEFP: 0, Register.SIMP: 0}
    for number in range(SINT_COUNT):
        values[Register.SINT0 + number] = SintConfig().encode()
    return values


class Synic:
    """The SynIC of one VP. ``pending`` is a bit set of vectors, as the request register of a local APIC.

    A SINT holds the message in its slot and at most one more, which waits until the guest has emptied the slot.
    """

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.pending = 0
        self.counts = PortCounts()
        self.merged: dict[int, int] = {}
        """Signals merged, by event flag."""
        self._waiting: dict[int, bytes] = {}
        self._registers = reset_values()
        self._look_up()

    # --- registers ------------------------------------------------------------------------------------------------

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

    def _check_write(self, register: int, value: int) -> None:
        if register not in self._registers:
            raise RegisterFault(f"register {register:#x} cannot be written")
        if register >= Register.SINT0:
            sint = SintConfig.decode(value)
            if not sint.masked and sint.vector < FIRST_VALID_VECTOR:
                raise RegisterFault(
                    f"SINT{register - Register.SINT0}: vector {sint.vector} is below {FIRST_VALID_VECTOR}"
                )

    def _store(self, register: int, value: int) -> None:
        """The register has its new value. A page is cleared when it is enabled (KVM, ``synic_set_msr``)."""
        self._registers[register] = value
        page = SynicPage.decode(value)
        if register in (Register.SIEFP, Register.SIMP) and page.enabled:
            self.ram.page(page.pfn)[:] = bytes(PAGE_SIZE)
        self._look_up()

    def _reset(self) -> list[int]:
        """Reset values everywhere; the SINTs whose waiting message is gone with them."""
        forgotten = list(self._waiting)
        self._waiting.clear()
        self.counts.messages_refused += len(forgotten)
        self._registers = reset_values()
        self._look_up()
        return forgotten

    def _look_up(self) -> None:
        """What the registers mean, kept ready: a signal is too frequent to decode them each time.

        Per SINT the first word of its flags and the first byte of its slot, None if it cannot take any, and the vector,
        None if it is polled.
        """
        registers = self._registers
        enabled = registers[Register.SCONTROL] & CONTROL_ENABLE
        siefp, simp = SynicPage.decode(registers[Register.SIEFP]), SynicPage.decode(registers[Register.SIMP])
        self._flag_page = siefp.pfn * PAGE_SIZE if enabled and siefp.enabled else None
        self._message_page = simp.pfn * PAGE_SIZE if enabled and simp.enabled else None
        self._flags: list[int | None] = [None] * SINT_COUNT
        self._slots: list[int | None] = [None] * SINT_COUNT
        self._vectors: list[int | None] = [None] * SINT_COUNT
        for number in range(SINT_COUNT):
            sint = SintConfig.decode(registers[Register.SINT0 + number])
            if sint.masked:
                continue
            if self._flag_page is not None:
                self._flags[number] = self._flag_page // 8 + number * FLAG_WORDS
            if self._message_page is not None:
                self._slots[number] = self._message_page + number * MESSAGE_SIZE
            if not sint.polling:
                self._vectors[number] = sint.vector

    # --- the pages, as the guest sees them --------------------------------------------------------------------------

    def message_slot(self, sint: Sint) -> memoryview | None:
        """The 256-byte slot of a SINT in the message page, None while the page is off."""
        if self._message_page is None:
            return None
        start = self._message_page + sint * MESSAGE_SIZE
        return self.ram.bytes[start : start + MESSAGE_SIZE]

    def flag_words(self, sint: Sint) -> memoryview | None:
        """The 32 words of a SINT's event flags, None while the page is off."""
        if self._flag_page is None:
            return None
        start = self._flag_page // 8 + sint * FLAG_WORDS
        return self.ram.words[start : start + FLAG_WORDS]

    # --- vectors ------------------------------------------------------------------------------------------------------

    def raise_vector(self, vector: int) -> None:
        """Make a vector pending on this VP, as a local timer does."""
        counts = self.counts
        counts.vectors_raised += 1
        bit = 1 << vector
        if self.pending & bit:
            counts.vectors_merged += 1
        else:
            self.pending |= bit

    def take_vector(self) -> int:
        """Acknowledge the highest pending vector."""
        vector = self.pending.bit_length() - 1
        self.pending ^= 1 << vector
        self.counts.vectors_taken += 1
        return vector

    # --- what the host sends ----------------------------------------------------------------------------------------

    def _take_signals(self, signals: list[int]) -> None:
        """Set event flags, each raising its SINT's vector if it was 0 (TLFS), and take interrupts of other VPs."""
        counts = self.counts
        for signal in signals:
            if signal >= IPI:
                vector = signal - IPI
                counts.ipis += 1
                if self.pending >> vector & 1:
                    counts.ipis_merged += 1
                self.raise_vector(vector)
                continue
            counts.signals += 1
            sint, flag = signal >> 16, signal & 0xFFFF
            first = self._flags[sint]
            if first is None:
                counts.signals_refused += 1
                continue
            if not self._set_flag(first + flag // 64, 1 << flag % 64):
                counts.signals_merged += 1
                self.merged[flag] = self.merged.get(flag, 0) + 1
                continue
            counts.signals_new += 1
            raised = self._vectors[sint]
            if raised is not None:
                self.raise_vector(raised)

    # --- a guest that runs while we touch its pages needs more: see the bridge's port -----------------------------

    def _set_flag(self, word: int, bit: int) -> bool:
        """Set an event flag; False if it was set. The emulated guest runs in this thread, so nobody interferes."""
        words = self.ram.words
        before = words[word]
        words[word] = before | bit
        return not before & bit

    def _full_fence(self) -> None:
        """Between a store to the guest's pages and a load from them."""

    # --- messages -----------------------------------------------------------------------------------------------------

    def _take_message(self, sint: int, message: bytes) -> bool:
        """Put a message into its slot, or let it wait for the slot. True: the SINT can take the next one."""
        self.counts.messages += 1
        slot = self._slots[sint]
        if slot is None:
            self.counts.messages_refused += 1
            return True
        self._waiting[sint] = message
        if self._place(sint):
            return True
        self.ram.bytes[slot + MESSAGE_FLAGS] |= MESSAGE_PENDING
        self._full_fence()
        # Look again: a guest on another processor may have emptied the slot before it could see the flag.
        return self._place(sint)

    def _place_waiting(self) -> list[int]:
        """Look at all slots again; the SINTs that can take the next message."""
        return [sint for sint in list(self._waiting) if self._place(sint)]

    def _place(self, sint: int) -> bool:
        """Put the waiting message into its slot if that is empty: payload first, the type last, then the vector."""
        slot = self._slots[sint]
        if slot is None or self.ram.words[slot // 8] & TYPE != HVMSG_NONE:
            return False
        message = self._waiting.pop(sint)
        self.ram.bytes[slot + 8 : slot + MESSAGE_SIZE] = message[8:]
        self.ram.words[slot // 8] = int.from_bytes(message[:8], "little")
        vector = self._vectors[sint]
        if vector is not None:
            self.raise_vector(vector)
        return True
