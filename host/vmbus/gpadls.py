"""The GPADLs of one connection: which of them the guest knows, and which the host still needs."""

from collections.abc import Callable
from typing import Final

from host.vmbus.link import Link
from host.vmbus.machine import Machine
from host.vmbus.options import Step
from host.vmbus.tables.gpadl import GPADL, GpadlAction, GpadlEvent, GpadlState
from protocol.errors import PeerError
from protocol.ids import GpadlId, Relid
from protocol.wire.gpadl import Assembler, GpaRange
from protocol.wire.messages import (
    GpadlBody,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    NtStatus,
)

MAX_PER_CHANNEL: Final = 64
"""Each costs the host memory.  Linux has at most three; what Hyper-V takes is not known."""


class BadGpadl(PeerError):
    """The guest named a GPADL that it has not got, or has got already, or it has too many."""


class Gpadl:
    """One GPADL.  ``ranges`` are there once it is complete; ``map`` and ``unmap`` count who uses the pages."""

    def __init__(self, link: Link, relid: Relid, id: GpadlId, forget: Callable[["Gpadl"], None]) -> None:
        self.relid = relid
        self.id = id
        self.ranges: tuple[GpaRange, ...] = ()
        self._link = link
        self._mappings = 0
        self._machine = Machine(
            GPADL,
            GpadlState.IN_PROGRESS,
            {
                GpadlAction.ASK: lambda: link.pace(Step.GPADL, relid, self._look_at_pages),
                GpadlAction.SEND_CREATED: lambda: self._send_created(NtStatus.SUCCESS),
                GpadlAction.SEND_FAILED: lambda: self._send_created(NtStatus.UNSUCCESSFUL),
                GpadlAction.LET_GO: self._let_go,
                GpadlAction.SEND_TORNDOWN: lambda: link.post(GpadlTorndown(id)),
                GpadlAction.FORGET: lambda: forget(self),
            },
        )

    @property
    def state(self) -> GpadlState:
        """Where it stands in the table."""
        return self._machine.state

    def fire(self, event: GpadlEvent) -> None:
        """Take the next step of the table."""
        self._machine.fire(event)

    def map(self) -> None:
        """Somebody uses the pages; GPADL_TORNDOWN has to wait."""
        self._mappings += 1

    def unmap(self) -> None:
        """And no longer does."""
        self._mappings -= 1
        self._let_go()

    def _let_go(self) -> None:
        if not self._mappings:
            self.fire(GpadlEvent.UNMAPPED)

    def _look_at_pages(self) -> None:
        if self.state is GpadlState.GONE:
            return
        pages = self._link.hypervisor.ram.pages
        good = all(pfn < pages for gpa_range in self.ranges for pfn in gpa_range.pfns)
        self.fire(GpadlEvent.MAPPABLE if good else GpadlEvent.UNMAPPABLE)

    def _send_created(self, status: NtStatus) -> None:
        self._link.post(GpadlCreated(self.relid, self.id, status))


class Gpadls:
    """All GPADLs of a connection.  The guest names them by relid and id, except in GPADL_BODY: by id alone."""

    def __init__(self, link: Link, revoked: Callable[[Relid], bool]) -> None:
        self._link = link
        self._revoked = revoked
        self._known: dict[tuple[Relid, GpadlId], Gpadl] = {}
        self._growing: dict[GpadlId, tuple[Gpadl, Assembler]] = {}
        self._needed: dict[Gpadl, None] = {}

    @property
    def in_use(self) -> bool:
        """Whether any page of the guest's is still described, known to the guest or not."""
        return bool(self._needed)

    def header(self, message: GpadlHeader) -> None:
        """GPADL_HEADER on a channel that exists.  A bad one is answered, and then raised as PeerError."""
        key = message.relid, message.gpadl
        try:
            assembler = Assembler(message)
            if key in self._known:
                raise BadGpadl(f"GPADL_HEADER: channel {message.relid} has a GPADL {message.gpadl:#x} already")
            if not assembler.complete and message.gpadl in self._growing:
                raise BadGpadl(f"GPADL_HEADER: GPADL {message.gpadl:#x} is in progress on another channel")
            if len(self._of(message.relid)) == MAX_PER_CHANNEL:
                raise BadGpadl(f"GPADL_HEADER: channel {message.relid} has {MAX_PER_CHANNEL} GPADLs: tear one down")
        except PeerError:
            self.refuse(message)
            raise
        gpadl = Gpadl(self._link, *key, self._forget)
        self._known[key] = gpadl
        self._needed[gpadl] = None
        if assembler.complete:
            self._complete(gpadl, assembler)
        else:
            self._growing[message.gpadl] = gpadl, assembler

    def body(self, message: GpadlBody) -> None:
        """GPADL_BODY.  It names no channel, so one that continues nothing cannot be answered."""
        if message.gpadl not in self._growing:
            raise BadGpadl(f"GPADL_BODY: GPADL {message.gpadl:#x} is not in progress")
        gpadl, assembler = self._growing[message.gpadl]
        if assembler.add(message):
            del self._growing[message.gpadl]
            self._complete(gpadl, assembler)

    def refuse(self, message: GpadlHeader) -> None:
        """GPADL_CREATED with a failure: the one error of a guest that always has an answer."""
        self._link.post(GpadlCreated(message.relid, message.gpadl, NtStatus.UNSUCCESSFUL))

    def teardown(self, message: GpadlTeardown) -> None:
        """GPADL_TEARDOWN.  A wrong one is not answered."""
        self.find(message.relid, message.gpadl).fire(GpadlEvent.TEARDOWN)

    def find(self, relid: Relid, id: GpadlId) -> Gpadl:
        """The GPADL that the guest means.  BadGpadl."""
        gpadl = self._known.get((relid, id))
        if gpadl is None:
            raise BadGpadl(f"channel {relid} has no GPADL {id:#x}")
        return gpadl

    def established(self, relid: Relid, id: GpadlId) -> Gpadl:
        """The same, and its pages may be used.  BadGpadl."""
        gpadl = self.find(relid, id)
        if gpadl.state is not GpadlState.ACCEPTED:
            raise BadGpadl(f"GPADL {id:#x} of channel {relid} is not established: {gpadl.state.name}")
        return gpadl

    def release(self, relid: Relid) -> None:
        """The guest has released the channel; its relid will mean another one."""
        for gpadl in self._of(relid):
            del self._known[relid, gpadl.id]
            gpadl.fire(GpadlEvent.RELEASE)

    def revoke(self, relid: Relid) -> None:
        """The channel is about to be rescinded."""
        for gpadl in self._of(relid):
            gpadl.fire(GpadlEvent.REVOKE)

    def _of(self, relid: Relid) -> list[Gpadl]:
        return [gpadl for (owner, _), gpadl in self._known.items() if owner == relid]

    def _complete(self, gpadl: Gpadl, assembler: Assembler) -> None:
        try:
            gpadl.ranges = assembler.ranges()
        except PeerError:
            gpadl.fire(GpadlEvent.MALFORMED)
            raise
        revoked = self._revoked(gpadl.relid)
        gpadl.fire(GpadlEvent.COMPLETE_REVOKED if revoked else GpadlEvent.COMPLETE)

    def _forget(self, gpadl: Gpadl) -> None:
        del self._needed[gpadl]
        if self._known.get((gpadl.relid, gpadl.id)) is gpadl:
            del self._known[gpadl.relid, gpadl.id]
        if gpadl.id in self._growing and self._growing[gpadl.id][0] is gpadl:
            del self._growing[gpadl.id]
        self._link.settled()
