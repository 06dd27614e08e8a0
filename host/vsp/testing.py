"""A test kit for device back ends: a clock that is moved by hand, and a channel with a guest at its other end.

Everything happens at once and in one thread. A doorbell reaches the device inside the guest's call that caused it,
and no signal is sent that a ring did not ask for, so a test that passes has the right number of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from host.vsp.device import Device
from host.vsp.periodic import UNITS_PER_SECOND
from protocol.errors import OperatorError, PeerError
from protocol.ids import GpadlId, Relid
from protocol.journal import Journal
from protocol.ram import Ram
from protocol.ring import Packet, RingReader, RingWriter
from protocol.wire.gpadl import GpaRange


@dataclass(eq=False)
class Alarm:
    """A call that Clock owes; a ``Timer``."""

    at: int
    fn: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Clock:
    """``Services`` in virtual time. Complaints are collected, not judged."""

    time: int = 0
    started: int = 133_000_000_000_000_000
    """Wall clock at time 0, in 100 ns since 1601: some day of 2022."""
    complaints: list[PeerError | OperatorError] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    journal: Journal | None = None

    def now(self) -> int:
        return self.time

    def wall_clock(self) -> int:
        return self.started + self.time

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Alarm:
        alarm = Alarm(self.time + round(seconds * UNITS_PER_SECOND), fn)
        self.alarms.append(alarm)
        return alarm

    def complain(self, error: PeerError | OperatorError) -> None:
        self.complaints.append(error)

    def advance(self, seconds: float) -> None:
        """Let time pass, and every call happen that falls due, each at its own time."""
        end = self.time + round(seconds * UNITS_PER_SECOND)
        while due := [alarm for alarm in self.alarms if alarm.at <= end and not alarm.cancelled]:
            alarm = min(due, key=lambda alarm: alarm.at)
            self.alarms.remove(alarm)
            self.time = max(self.time, alarm.at)
            try:
                alarm.fn()
            except (PeerError, OperatorError) as error:
                self.complain(error)
        self.time = end


def no_fence() -> None:
    """Enough between two ends in one thread."""


@dataclass
class OfferedSubChannels:
    """A ``SubChannels`` that only remembers."""

    offered: list[Device] = field(default_factory=list)

    def offer(self, devices: Sequence[Device]) -> None:
        self.offered.extend(devices)

    def withdraw(self) -> None:
        self.offered.clear()


class Loopback:
    """A ``VspChannel`` whose guest is the test.

    ``upstream`` and ``downstream`` are the pages of the two rings, control page first. ``signals`` counts how often
    the host set the channel's event flag, ``doorbells`` how often the guest signalled. ``guest_writer`` and
    ``guest_reader`` are the guest's ends, for a test that wants to misuse them. ``gpadls`` are what the guest has lent
    besides the rings, and ``mapped`` those of them that the device uses.
    """

    def __init__(self, ram: Ram, upstream: Sequence[int], downstream: Sequence[int], relid: int = 1) -> None:
        self.relid = Relid(relid)
        self.ram = ram
        self.signals = 0
        self.doorbells = 0
        up, down = ram.ring(upstream), ram.ring(downstream)
        up.init()
        down.init()
        self.upstream, self.downstream = up, down
        self.incoming = RingReader(up, no_fence)
        self.outgoing = RingWriter(down, no_fence)
        self.guest_writer = RingWriter(up, no_fence)
        self.guest_reader = RingReader(down, no_fence)
        self.gpadls: dict[GpadlId, tuple[GpaRange, ...]] = {}
        self.mapped: set[GpadlId] = set()
        self._device: Device | None = None

    def signal(self) -> None:
        self.signals += 1

    def map_gpadl(self, id: GpadlId) -> tuple[GpaRange, ...]:
        if id not in self.gpadls:
            raise PeerError(f"GPADL {id} is not established")
        self.mapped.add(id)
        return self.gpadls[id]

    def unmap_gpadl(self, id: GpadlId) -> None:
        self.mapped.discard(id)

    def open(self, device: Device, user_data: bytes = bytes(120)) -> None:
        """What the server does on OPENCHANNEL."""
        self._device = device
        device.open(self, user_data)

    def send(self, type: int, payload: bytes, transaction_id: int = 0, flags: int = 0, header: bytes = b"") -> None:
        """The guest writes one packet and signals if the ring says so."""
        self.send_all([(type, payload, transaction_id, flags, header)])

    def send_all(self, packets: Sequence[tuple[int, bytes, int, int, bytes]]) -> None:
        """The guest writes several packets with one publication."""
        for packet in packets:
            if not self.guest_writer.put(*packet):
                raise AssertionError("the guest's ring is full")
        if self.guest_writer.commit():
            self.ring_doorbell()

    def receive(self, limit: int | None = None) -> list[Packet]:
        """The guest takes what has arrived, at most ``limit`` packets."""
        packets: list[Packet] = []
        self.guest_reader.drain(packets.append, limit)
        if self.guest_reader.release():
            self.ring_doorbell()
        return packets

    def ring_doorbell(self) -> None:
        """The guest's HvSignalEvent."""
        assert self._device is not None
        self.doorbells += 1
        self._device.doorbell()
