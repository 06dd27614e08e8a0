"""The host's side of one VP port: shadow registers, message queues, the set of signals not yet sent, and the window.

Signals that have not been sent are one set per VP and go as one envelope, so coalescing is part of the model and is
counted. At most ``WINDOW`` envelopes that carry signals are unacknowledged; while the window is full, further signals
gather in the set. Only this bounds the queue towards a slow port. When half of the window is used the host asks for an
acknowledgement by a flag in the envelope. Messages and answers carry the pending signals with them, so nothing towards
the same VP is ever overtaken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocol.ids import VpIndex
from protocol.port.envelope import ACKNOWLEDGE, IPI, Sequence, ToPort, to_port
from protocol.wire.synic import SINT_COUNT, Register, SintConfig

WINDOW = 8
"""Unacknowledged envelopes with signals. 8 costs nothing against 64 and bounds the queue (measured)."""


@dataclass(slots=True)
class QueuedMessage:
    """A message for a SINT, and the delivery marks of other VPs that it waits for."""

    message: bytes
    waits: dict[VpIndex, int]


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
    messages_sent: int = 0
    envelopes: int = 0
    acknowledgements_asked: int = 0
    fences: int = 0
    most_unacknowledged: int = 0


@dataclass(slots=True, eq=False)
class VirtualProcessor:
    """One VP as the host sees it. ``transmit`` hands an envelope to the transport."""

    index: VpIndex
    transmit: Callable[[bytes], None]
    present: bool = False
    registers: dict[int, int] = field(default_factory=dict)
    queues: list[deque[QueuedMessage]] = field(default_factory=list)
    untaken: list[bool] = field(default_factory=list)
    signals: dict[int, None] = field(default_factory=dict)
    received: Sequence = field(default_factory=Sequence)
    sent: int = 0
    delivered: int = 0
    unacknowledged: deque[int] = field(default_factory=deque)
    asked: int = 0
    """The envelope with which an acknowledgement was last asked for."""
    counts: VpCounts = field(default_factory=VpCounts)
    by_flag: dict[int, int] = field(default_factory=dict)
    """Signals sent, by event flag."""

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to the reset values of the TLFS; the envelopes go on counting."""
        self.registers = {Register.SCONTROL: 0, Register.SIEFP: 0, Register.SIMP: 0}
        for number in range(SINT_COUNT):
            self.registers[Register.SINT0 + number] = SintConfig().encode()
        self.queues = [deque() for _ in range(SINT_COUNT)]
        self.untaken = [False] * SINT_COUNT
        self.signals = {}

    def takes_signals(self, sint: int) -> bool:
        """SynIC and event-flags page on, SINT not masked (TLFS, HvSignalEvent)."""
        registers = self.registers
        return bool(
            self.present
            and registers[Register.SCONTROL] & 1
            and registers[Register.SIEFP] & 1
            and not SintConfig.decode(registers[Register.SINT0 + sint]).masked
        )

    def takes_messages(self, sint: int) -> bool:
        """SynIC and message page on, SINT not masked (TLFS, HvPostMessage)."""
        registers = self.registers
        return bool(
            self.present
            and registers[Register.SCONTROL] & 1
            and registers[Register.SIMP] & 1
            and not SintConfig.decode(registers[Register.SINT0 + sint]).masked
        )

    def add_signal(self, signal: int) -> bool:
        """Put a flag or an interrupt into the set; False if it was there already (coalesced)."""
        if signal in self.signals:
            return False
        self.signals[signal] = None
        return True

    @property
    def may_send_signals(self) -> bool:
        """There is something in the set and the window is open."""
        return bool(self.signals) and len(self.unacknowledged) < WINDOW

    def send(self, kind: ToPort, *fields: Any, acknowledge: bool = False) -> None:
        """Send an envelope with all pending signals on it."""
        number = self.sent + 1
        signals = list(self.signals)
        counts = self.counts
        if signals and self.asked <= self.delivered and len(self.unacknowledged) + 1 >= WINDOW // 2:
            acknowledge = True
        self.transmit(to_port(number, ACKNOWLEDGE if acknowledge else 0, signals, kind, *fields))
        self.sent = number
        counts.envelopes += 1
        if acknowledge:
            self.asked = number
            counts.acknowledgements_asked += 1
        if signals:
            self.signals.clear()
            interrupts = 0
            by_flag = self.by_flag
            for signal in signals:
                if signal >= IPI:
                    interrupts += 1
                else:
                    flag = signal & 0xFFFF
                    by_flag[flag] = by_flag.get(flag, 0) + 1
            counts.ipis_sent += interrupts
            counts.signals_sent += len(signals) - interrupts
            self.unacknowledged.append(number)
            counts.most_unacknowledged = max(counts.most_unacknowledged, len(self.unacknowledged))

    def fence(self) -> int | None:
        """Make sure that all signals raised so far get delivered soon; the mark to wait for, None if they are."""
        if self.signals or (self.unacknowledged and self.asked < self.unacknowledged[-1]):
            self.counts.fences += 1
            self.send(ToPort.FENCE, acknowledge=True)
        return self.unacknowledged[-1] if self.unacknowledged else None

    def acknowledge(self, delivered: int) -> None:
        """The port has made visible everything up to ``delivered``."""
        self.delivered = delivered
        unacknowledged = self.unacknowledged
        while unacknowledged and unacknowledged[0] <= delivered:
            unacknowledged.popleft()
