"""The hypervisor of one partition: hypercalls, ports and connections, message queues, event flags, delivery fences.

Hardware makes an event flag visible before anything that is said later; two sockets do not. So a signal counts as
delivered when its port says so, and a message that promises "no more interrupts at that VP" is withheld until every
earlier signal there has been delivered (``post(..., after=...)``). Towards its own VP a message is never withheld: one
socket is first in, first out, and waiting there would stop the caller for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from host.hypervisor.hypercalls import HypercallOptions, Hypercalls
from host.hypervisor.vp import Mark, QueuedMessage, VirtualProcessor
from protocol.errors import PeerError
from protocol.ids import ConnectionId, Sint, VpIndex
from protocol.journal import Journal
from protocol.port.envelope import IPI, EnvelopeError, ToHost, ToPort, read_to_host
from protocol.ram import Ram
from protocol.wire.hypercall import Status
from protocol.wire.synic import SINT_COUNT, VMBUS_MESSAGE_TYPE, Register, SynicMessage, SynicPage

_SIGNALS = ToPort.SIGNALS  # Python 3.11 takes 0.1 us to find a member of an enumeration


@dataclass(slots=True)
class HypervisorOptions(HypercallOptions):
    """Named behaviours of the host. The defaults are what hardware does."""

    delivery_fences: bool = True
    """Withhold promises until earlier signals are delivered. Off, ZeroMQ's two sockets overtake each other."""
    suppress_signals: frozenset[int] = frozenset()
    """Fault: event flags that are dropped on the way to the VP (a lost interrupt)."""


class Partition:
    """The hypervisor as the VMBus server sees it, and as the VP ports do.

    ``transmit(vp, data)`` hands an envelope to the transport. The shell calls ``receive`` for each envelope and
    ``flush`` at the end of its turn, so that signals of one turn go as one envelope.
    """

    def __init__(
        self,
        vps: int,
        ram: Ram,
        transmit: Callable[[VpIndex, bytes], None],
        options: HypervisorOptions | None = None,
        journal: Journal | None = None,
        complain: Callable[[PeerError], None] = lambda error: None,
    ) -> None:
        self.ram = ram
        self.options = options or HypervisorOptions()
        self.on_crash: Callable[[VpIndex, str], None] = lambda vp, text: None
        self.on_hello: Callable[[VpIndex], None] = lambda vp: None
        self.on_reset: Callable[[], None] = lambda: None
        self._journal = journal
        self._complain = complain
        self.processors = [VirtualProcessor(VpIndex(n), partial(transmit, VpIndex(n)), journal) for n in range(vps)]
        self.vps = frozenset(processor.index for processor in self.processors)
        self._hypercalls = Hypercalls(vps, ram, self._interrupt, self.options, journal)
        self._dirty: dict[VirtualProcessor, None] = {}
        self._withheld: dict[tuple[VpIndex, int], None] = {}
        self._awaited: list[tuple[dict[VpIndex, Mark], Callable[[], None]]] = []
        self._acts: dict[int, Callable[..., None]] = {
            ToHost.HELLO: self._hello,
            ToHost.HYPERCALL: self._hypercall,
            ToHost.CAST: self._cast,
            ToHost.REGISTER: self._write_register,
            ToHost.RESET: self._reset,
            ToHost.TAKEN: self._taken,
            ToHost.ACK: lambda processor: None,
            ToHost.CRASH: lambda processor, text: self.on_crash(processor.index, text),
        }

    # --- what the VMBus server asks -------------------------------------------------------------------------------

    def listen_messages(self, connection: ConnectionId, handler: Callable[[VpIndex, bytes], None]) -> None:
        self._hypercalls.messages[connection] = handler

    def close_messages(self, connection: ConnectionId) -> None:
        self._hypercalls.messages.pop(connection, None)

    def listen_events(self, connection: ConnectionId, handler: Callable[[], None]) -> None:
        self._hypercalls.events[connection] = handler

    def close_events(self, connection: ConnectionId) -> None:
        if self._hypercalls.events.pop(connection, None) is not None:
            self._hypercalls.unheard.setdefault(connection, 0)

    def post(self, vp: VpIndex, sint: Sint, payload: bytes, after: frozenset[VpIndex] = frozenset()) -> None:
        if sint >= SINT_COUNT:
            raise PeerError(f"no VP has a SINT {sint} to send a message to")
        processor = self.processors[vp]
        waits = self._fence(after - {vp}) if self.options.delivery_fences else {}
        message = SynicMessage(VMBUS_MESSAGE_TYPE, 0, 0, payload).encode()
        processor.queues[sint].append(QueuedMessage(message, waits))
        processor.counts.messages_posted += 1
        self._pump(processor, sint)

    def signal(self, vp: VpIndex, sint: Sint, flag: int) -> bool:
        processor = self.processors[vp]
        counts = processor.counts
        counts.signals_raised += 1
        if not processor.takes_signals(sint):
            counts.signals_refused += 1
            return False
        if flag in self.options.suppress_signals:
            return True
        if processor.add_signal(sint << 16 | flag):
            self._dirty[processor] = None
        else:
            counts.signals_coalesced += 1
        return True

    def when_delivered(self, vps: frozenset[VpIndex], then: Callable[[], None]) -> None:
        """Call ``then`` as soon as every signal raised so far towards ``vps`` has been delivered."""
        waits = self._fence(vps)
        if waits:
            self._awaited.append((waits, then))
        else:
            then()

    def _fence(self, vps: frozenset[VpIndex]) -> dict[VpIndex, Mark]:
        """Push out the signals towards ``vps``; the delivery marks that are still to be reached."""
        marks = {vp: self.processors[vp].fence() for vp in sorted(vps)}
        return {vp: mark for vp, mark in marks.items() if mark is not None}

    def _reached(self, waits: dict[VpIndex, Mark]) -> bool:
        return all(self.processors[vp].reached(mark) for vp, mark in waits.items())

    @property
    def unheard(self) -> dict[int, int]:
        """Doorbells that nobody listens to any more, by connection; under 0 those that nobody ever has."""
        return self._hypercalls.unheard

    def flush_queue(self, vp: VpIndex, sint: Sint) -> None:
        self.processors[vp].forget_messages(sint)

    # --- what the VP ports say ------------------------------------------------------------------------------------

    def receive(self, vp: VpIndex, data: bytes) -> None:
        """Take one envelope of the port of ``vp``. Raises ``EnvelopeError``: a transport that loses is no transport."""
        parts = read_to_host(data)
        processor = self.processors[vp]
        number, delivered, kind = parts[:3]
        processor.received.check(number)
        if not processor.delivered <= delivered <= processor.sent:
            raise EnvelopeError(f"VP {vp} claims to have received envelope {delivered} of {processor.sent}")
        if delivered > processor.delivered:
            processor.acknowledge(delivered)
            if processor.signals:
                self._dirty[processor] = None
            if self._withheld or self._awaited:
                self._look_at_waits()
        self._acts[kind](processor, *parts[3:])

    def _look_at_waits(self) -> None:
        """Signals have been delivered: perhaps somebody waited for them."""
        for waiting_vp, sint in list(self._withheld):
            self._pump(self.processors[waiting_vp], sint)
        reached = [entry for entry in self._awaited if self._reached(entry[0])]
        for entry in reached:
            self._awaited.remove(entry)
            entry[1]()

    def flush(self) -> None:
        """The end of the host's turn: send what the windows allow; the rest goes when they open."""
        for processor in self._dirty:
            if processor.may_send_signals:
                processor.send(_SIGNALS)
        self._dirty.clear()

    def _pump(self, processor: VirtualProcessor, sint: int) -> None:
        """Send the head of a queue if the port can take it; a port holds one message that the slot has not taken."""
        queue = processor.queues[sint]
        key = (processor.index, sint)
        while queue and not processor.untaken[sint]:
            head = queue[0]
            if not self._reached(head.waits):
                self._withheld[key] = None
                return
            queue.popleft()
            if not processor.takes_messages(sint):
                processor.counts.messages_refused += 1
                self._complain(PeerError(f"VP {processor.index} cannot take a message: its SynIC is off"))
                continue
            processor.untaken[sint] = True
            processor.counts.messages_sent += 1
            if self._journal:
                self._journal("message", processor.index, sint, head.message[16 : 16 + head.message[4]])
            processor.send(ToPort.MESSAGE, sint, head.message)
        self._withheld.pop(key, None)

    def _hello(self, processor: VirtualProcessor) -> None:
        processor.present = True
        self._dirty[processor] = None
        self.on_hello(processor.index)

    def _hypercall(self, processor: VirtualProcessor, control: int, rdx: int, r8: int) -> None:
        status, then = self._hypercalls.call(processor.index, control, rdx, r8)
        processor.send(ToPort.ANSWER, status)
        then()

    def _cast(self, processor: VirtualProcessor, control: int, rdx: int, r8: int) -> None:
        _, then = self._hypercalls.call(processor.index, control, rdx, r8)
        then()

    def _taken(self, processor: VirtualProcessor, sint: int) -> None:
        if sint >= SINT_COUNT or not processor.untaken[sint]:
            raise EnvelopeError(f"VP {processor.index} took a message of SINT {sint} that it never had")
        processor.untaken[sint] = False
        self._pump(processor, sint)

    def _write_register(self, processor: VirtualProcessor, register: int, value: int) -> None:
        """Shadow a SynIC register. Signals still in the set travel with the answer, so none is lost to a late one."""
        status = Status.SUCCESS
        if register not in processor.registers or (
            register in (Register.SIEFP, Register.SIMP) and SynicPage.decode(value).pfn >= self.ram.pages
        ):
            status = Status.INVALID_PARAMETER
        else:
            processor.write_register(register, value)
        if self._journal:
            self._journal("register", processor.index, register, value, int(status))
        processor.send(ToPort.ANSWER, status)

    def _reset(self, caller: VirtualProcessor) -> None:
        """The VM starts afresh. Each port is told in its own order of envelopes, so shadow and port stay the same."""
        for processor in self.processors:
            processor.reset()
        self.on_reset()
        for processor in self.processors:
            if processor is not caller and processor.present:
                processor.send(ToPort.RESET)
        caller.send(ToPort.ANSWER, Status.SUCCESS)

    def _interrupt(self, vp: VpIndex, vector: int) -> None:
        """An interrupt from one VP to another; one for a VP that has not said hello waits for it."""
        target = self.processors[vp]
        target.counts.ipis_raised += 1
        if target.add_signal(IPI | vector):
            self._dirty[target] = None
        else:
            target.counts.ipis_coalesced += 1
