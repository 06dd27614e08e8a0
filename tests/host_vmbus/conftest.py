"""A partition that records, a device that obeys, and a guest that says what it is told to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from host.vmbus.channel import Channel
from host.vmbus.options import UNTIL_RELEASED, HostOptions, Step
from host.vmbus.server import OfferHandle, VmbusServer
from host.vsp.device import Offer, VspChannel
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, GpadlId, Pfn, Relid, Sint, VpIndex
from protocol.ram import Ram
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.messages import (
    ControlMessage,
    InitiateContact,
    OpenChannel,
    RequestOffers,
    decode,
    encode,
)
from protocol.wire.versions import Dialect, Version

SCSI = UUID("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f")
NET = UUID("f8615163-df3e-46c5-913f-f2d2f965ed0e")
RAM_PAGES = 128
RING = tuple(Pfn(pfn) for pfn in range(8, 16))
SINT = Sint(2)
ALL_HELD = HostOptions(delay=dict.fromkeys(Step, UNTIL_RELEASED))


@cache
def shared_ram() -> GuestRam:
    return GuestRam.create(RAM_PAGES * 4096, "vmbus-test")


@dataclass(frozen=True)
class Posted:
    """One control message that the host has sent, and the VPs whose signals had to come first."""

    vp: VpIndex
    sint: Sint
    message: ControlMessage
    after: frozenset[VpIndex]


class FakeHypervisor:
    """Ports that the test knocks at, and a record of what the server asked for."""

    def __init__(self, vps: int = 4) -> None:
        self.ram: Ram = shared_ram()
        self.vps = frozenset(VpIndex(vp) for vp in range(vps))
        self.message_ports: dict[ConnectionId, Callable[[VpIndex, bytes], None]] = {}
        self.event_ports: dict[ConnectionId, Callable[[], None]] = {}
        self.dialect = Dialect(Version.WIN8)
        self.posted: list[Posted] = []
        self.signals: list[tuple[VpIndex, Sint, int]] = []
        self.flushed: list[tuple[VpIndex, Sint]] = []
        self.synic_off: set[VpIndex] = set()

    def listen_messages(self, connection: ConnectionId, handler: Callable[[VpIndex, bytes], None]) -> None:
        assert connection not in self.message_ports
        self.message_ports[connection] = handler

    def close_messages(self, connection: ConnectionId) -> None:
        del self.message_ports[connection]

    def listen_events(self, connection: ConnectionId, handler: Callable[[], None]) -> None:
        assert connection not in self.event_ports, "a doorbell is connected once"
        self.event_ports[connection] = handler

    def close_events(self, connection: ConnectionId) -> None:
        del self.event_ports[connection]

    def post(self, vp: VpIndex, sint: Sint, payload: bytes, after: frozenset[VpIndex] = frozenset()) -> None:
        self.posted.append(Posted(vp, sint, decode(payload, self.dialect), after))

    def signal(self, vp: VpIndex, sint: Sint, flag: int) -> bool:
        if vp in self.synic_off:
            return False
        self.signals.append((vp, sint, flag))
        return True

    def flush_queue(self, vp: VpIndex, sint: Sint) -> None:
        self.flushed.append((vp, sint))


@dataclass
class FakeDevice:
    """Opens and closes as told.  ``slow``: ``close`` is done when the test calls ``finish``."""

    class_id: UUID = SCSI
    instance: int = 1
    sub_channel_index: int = 0
    slow: bool = False
    open_error: Exception | None = None
    close_error: Exception | None = None
    doorbell_error: Exception | None = None
    on_open: Callable[[VspChannel], None] = lambda channel: None
    on_close: Callable[[], None] = lambda: None
    log: list[str] = field(default_factory=list)
    channel: VspChannel | None = None
    user_data: bytes = b""
    done: Callable[[], None] | None = None

    @property
    def offer(self) -> Offer:
        return Offer(self.class_id, UUID(int=self.instance), sub_channel_index=self.sub_channel_index)

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        assert self.channel is None and self.done is None, "open and close take turns"
        if self.open_error:
            raise self.open_error
        self.log.append("open")
        self.channel = channel
        self.user_data = user_data
        self.on_open(channel)

    def close(self, done: Callable[[], None]) -> None:
        assert self.channel is not None and self.done is None, "open and close take turns"
        self.log.append("close")
        self.done = done
        self.on_close()
        if self.close_error:
            self.channel = self.done = None
            raise self.close_error
        if not self.slow:
            self.finish()

    def finish(self) -> None:
        assert self.done is not None
        done, self.done, self.channel = self.done, None, None
        done()

    def doorbell(self) -> None:
        assert self.channel is not None, "no doorbell without a channel"
        self.log.append("doorbell")
        if self.doorbell_error:
            raise self.doorbell_error

    def counts(self) -> dict[str, int]:
        return {}

    def signal(self) -> None:
        assert self.channel is not None
        self.channel.signal()


class Vm:
    """One server, one device to begin with, and the guest's side of the conversation."""

    def __init__(self, options: HostOptions | None = None, *, sint: Sint = SINT, vps: int = 4) -> None:
        self.hypervisor = FakeHypervisor(vps)
        self.complaints: list[PeerError | OperatorError] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.server = VmbusServer(
            self.hypervisor,
            options or HostOptions(),
            self.complaints.append,
            sint,
            fence=lambda: None,
            call_later=lambda seconds, fn: self.timers.append((seconds, fn)),
        )
        self._heard = 0
        self._next_gpadl = 0x100

    # What the guest does.

    def send(self, message: ControlMessage, port: int = 1) -> None:
        payload = encode(message, self.hypervisor.dialect)
        self.hypervisor.message_ports[ConnectionId(port)](VpIndex(0), payload)

    def contact(self, version: int = Version.V5_3, vp: int = 0, port: int = 4, **fields: Any) -> None:
        if version in set(Version):
            self.hypervisor.dialect = Dialect(Version(version))
        self.send(InitiateContact(version, VpIndex(vp), **fields), port)

    def connect(self, version: int = Version.V5_3, vp: int = 0) -> None:
        """Contact and offers; what the host said so far is forgotten."""
        self.contact(version, vp)
        self.send(RequestOffers())
        self.heard()

    def describe(self, relid: int, *pfns: int, gpadl: int | None = None) -> GpadlId:
        """Send a GPADL of one range of whole pages, RING if none are named."""
        self._next_gpadl += 1
        id = GpadlId(self._next_gpadl if gpadl is None else gpadl)
        pages = tuple(Pfn(pfn) for pfn in pfns) or RING
        for message in split(Relid(relid), id, [GpaRange.whole_pages(pages)]):
            self.send(message)
        return id

    def open(self, relid: int, gpadl: int | None = None, *, vp: int = 1, downstream: int = 4, id: int = 77) -> int:
        """OPENCHANNEL, after a GPADL for the rings unless there is one already.  Returns the GPADL."""
        ring = self.describe(relid) if gpadl is None else GpadlId(gpadl)
        self.send(OpenChannel(Relid(relid), id, ring, VpIndex(vp), downstream, b"driver"))
        return ring

    def ring_doorbell(self, relid: int, sint: int = SINT) -> None:
        self.hypervisor.event_ports[ConnectionId(relid | sint << 12)]()

    # What the host did.

    def heard(self) -> list[ControlMessage]:
        """The control messages since the last call."""
        return [posted.message for posted in self.heard_envelopes()]

    def heard_envelopes(self) -> list[Posted]:
        news = self.hypervisor.posted[self._heard :]
        self._heard = len(self.hypervisor.posted)
        return news

    def names(self) -> list[str]:
        """Only the names of the control messages since the last call."""
        return [message.name for message in self.heard()]

    def complained(self) -> list[str]:
        """The complaints since the last call."""
        texts = [str(error) for error in self.complaints]
        self.complaints.clear()
        return texts


def channel_of(handle: OfferHandle) -> Channel:
    """The record behind a handle, for tests that look at it from inside."""
    return handle._channel


@pytest.fixture
def vm() -> Vm:
    return Vm()
