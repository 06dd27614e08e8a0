"""The host's side of one VP port: shadow registers, message queues, the set of signals not yet sent, and the window.

Signals that have not been sent are one set per VP and go as one envelope, so coalescing is part of the model and is
counted. While ``WINDOW`` envelopes with signals are unacknowledged, further signals gather in the set, even if somebody
waits for their delivery. Only this bounds the queue towards a slow port. Whenever half a window has gone since the last
request, the host asks for an acknowledgement by a flag in the envelope, so a full window always has one under way.

Messages, answers and resets carry the pending signals with them, full window or not, so nothing towards the same VP is
ever overtaken. That is little: the port acknowledges a message when it asks for the next one of that SINT, and an
answer with its next call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocol.ids import VpIndex
from protocol.journal import Journal
from protocol.port.envelope import ACKNOWLEDGE, IPI, Sequence, ToPort, to_port
from protocol.port.synic import reset_values
from protocol.wire.synic import SINT_COUNT, Register, SintConfig

WINDOW = 8
"""Unacknowledged envelopes with signals. 8 costs nothing against 64 and bounds the queue (measured)."""

Mark = int
"""How many sets of signals must have been delivered."""


@dataclass(slots=True)
class QueuedMessage:
    """A message for a SINT, and the delivery marks of other VPs that it waits for."""

    message: bytes
    waits: dict[VpIndex, Mark]


@dataclass(slots=True)
class VpCounts:
    """What the host has said to one VP, for the equations of the report."""

    signals_raised: int = 0
    signals_refused: int = 0  # the shadow says that the SynIC cannot take it
    signals_coalesced: int = 0  # already in the set
    signals_sent: int = 0
    ipis_raised: int = 0
    ipis_coalesced: int = 0
    ipis_sent: int = 0
    messages_posted: int = 0
    messages_refused: int = 0
    messages_forgotten: int = 0  # flushed or reset while in the queue
    messages_sent: int = 0
    envelopes: int = 0
    acknowledgements_asked: int = 0
    fences: int = 0
    most_unacknowledged: int = 0


@dataclass(slots=True, eq=False)
class VirtualProcessor:
    """One VP as the host sees it. ``transmit`` hands an envelope to the transport and calls nothing back."""

    index: VpIndex
    transmit: Callable[[bytes], None]
    journal: Journal | None = None
    present: bool = False
    registers: dict[int, int] = field(default_factory=reset_values)
    queues: list[deque[QueuedMessage]] = field(default_factory=lambda: [deque() for _ in range(SINT_COUNT)])
    untaken: list[bool] = field(default_factory=lambda: [False] * SINT_COUNT)
    """Per SINT: the port has a message that it has not put into the slot yet."""
    signals: dict[int, None] = field(default_factory=dict)
    received: Sequence = field(default_factory=Sequence)
    sent: int = 0
    delivered: int = 0
    unacknowledged: deque[int] = field(default_factory=deque)
    """The envelopes with the sets of signals that are on the way."""
    asked: int = 0
    """The envelope with which an acknowledgement was last asked for."""
    sets: int = 0
    """Sets of signals sent."""
    fenced: Mark = 0
    """The last set of signals, sent or not, for whose delivery somebody waits."""
    counts: VpCounts = field(default_factory=VpCounts)
    by_flag: dict[int, int] = field(default_factory=dict)
    """Signals sent, by event flag."""
    _signal_sints: int = 0
    _message_sints: int = 0

    # --- the shadow -------------------------------------------------------------------------------------------------

    def write_register(self, register: int, value: int) -> None:
        """The guest has written a register that there is."""
        self.registers[register] = value
        self._look_up()

    def reset(self) -> None:
        """Back to the reset values of the TLFS. The envelopes go on counting, and so does what the port holds."""
        self.registers = reset_values()
        for sint in range(SINT_COUNT):
            self.forget_messages(sint)
        self._look_up()

    def _look_up(self) -> None:
        """Which SINTs can take signals and messages, as bit sets: asked for each signal, decoded for each write."""
        registers = self.registers
        on = 0
        if registers[Register.SCONTROL] & 1:
            for sint in range(SINT_COUNT):
                on |= (not SintConfig.decode(registers[Register.SINT0 + sint]).masked) << sint
        self._signal_sints = on if registers[Register.SIEFP] & 1 else 0
        self._message_sints = on if registers[Register.SIMP] & 1 else 0

    def takes_signals(self, sint: int) -> bool:
        """SynIC and event-flags page on, SINT not masked (TLFS, HvSignalEvent)."""
        return self.present and bool(self._signal_sints >> sint & 1)

    def takes_messages(self, sint: int) -> bool:
        """SynIC and message page on, SINT not masked (TLFS, HvPostMessage)."""
        return self.present and bool(self._message_sints >> sint & 1)

    def forget_messages(self, sint: int) -> None:
        """Drop what is queued; a message that the port has stays there."""
        queue = self.queues[sint]
        self.counts.messages_forgotten += len(queue)
        queue.clear()

    # --- signals and the window -------------------------------------------------------------------------------------

    def add_signal(self, signal: int) -> bool:
        """Put a flag or an interrupt into the set; False if it was there already (coalesced)."""
        if signal in self.signals:
            return False
        self.signals[signal] = None
        return True

    @property
    def may_send_signals(self) -> bool:
        """There is something in the set, somebody to take it, and the window is open."""
        return bool(self.signals) and self.present and len(self.unacknowledged) < WINDOW

    def send(self, kind: ToPort, *fields: Any, acknowledge: bool = False) -> None:
        """Send an envelope with all pending signals on it."""
        number = self.sent + 1
        signals = list(self.signals)
        unacknowledged = self.unacknowledged
        if signals and (
            self.fenced > self.sets
            or (len(unacknowledged) >= WINDOW // 2 - 1 and unacknowledged[1 - WINDOW // 2] > self.asked)
        ):
            acknowledge = True
        self.transmit(to_port(number, ACKNOWLEDGE if acknowledge else 0, signals, kind, *fields))
        self.sent = number
        counts = self.counts
        counts.envelopes += 1
        if acknowledge:
            self.asked = number
            counts.acknowledgements_asked += 1
        if signals:
            self.signals.clear()
            self.sets += 1
            unacknowledged.append(number)
            if len(unacknowledged) > counts.most_unacknowledged:
                counts.most_unacknowledged = len(unacknowledged)
            self._count(signals)
            if self.journal:
                self.journal("signals", self.index, signals)

    def _count(self, signals: list[int]) -> None:
        interrupts = 0
        by_flag = self.by_flag
        for signal in signals:
            if signal >= IPI:
                interrupts += 1
            else:
                flag = signal & 0xFFFF
                by_flag[flag] = by_flag.get(flag, 0) + 1
        self.counts.ipis_sent += interrupts
        self.counts.signals_sent += len(signals) - interrupts

    def fence(self) -> Mark | None:
        """Make sure that all signals raised so far get delivered soon; the mark to wait for, None if they are."""
        if not self.present or not (self.signals or self.unacknowledged):
            return None
        self.fenced = self.sets + bool(self.signals)
        if self.signals and not self.may_send_signals:
            return self.fenced  # an acknowledgement is under way: they go, and ask for theirs, when it is there
        if self.signals or self.asked < self.unacknowledged[-1]:
            self.counts.fences += 1
            self.send(ToPort.FENCE, acknowledge=True)
        return self.fenced

    def reached(self, mark: Mark) -> bool:
        """All signals that were raised before ``fence`` said this mark have been delivered."""
        return self.sets - len(self.unacknowledged) >= mark

    def acknowledge(self, delivered: int) -> None:
        """The port has made visible everything up to ``delivered``."""
        self.delivered = delivered
        unacknowledged = self.unacknowledged
        while unacknowledged and unacknowledged[0] <= delivered:
            unacknowledged.popleft()
