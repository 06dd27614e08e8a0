"""What the bridge answers when a virtual processor of the real guest stops: MSRs, hypercalls, crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from guest.linux.mailbox import Kind, Mailbox, Request
from guest.linux.msrs import (
    APIC_HZ,
    CRASH_MESSAGE,
    CRASH_NOTIFY,
    ENABLE,
    HYPERCALL_CODE,
    Msr,
)
from guest.linux.refclock import ReferenceClock
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE
from protocol.port.synic import RegisterFault
from protocol.port.vp_port import VpPort
from protocol.ram import Ram
from protocol.wire.hypercall import Code, Status

CRASH_TEXT_MAX = PAGE_SIZE
CODE_MASK = 0xFFFF
OURS = frozenset(map(int, Msr))
"""The other synthetic MSRs are the SynIC's."""
Journal = Callable[..., None]


class TripleFault(PeerError):
    """The guest has lost its way so thoroughly that its processor stopped."""


@dataclass(slots=True)
class Shared:
    """What all VPs of the partition have in common."""

    ram: Ram
    clock: ReferenceClock
    registers: dict[int, int] = field(default_factory=dict)
    """Synthetic MSRs of the partition, as last written."""


@dataclass(slots=True)
class ExitCounts:
    """How often the guest has stopped, for the report."""

    msr_reads: int = 0
    msr_writes: int = 0
    faults: int = 0
    calls: int = 0
    casts: int = 0


class LinuxVp:
    """One virtual processor of the real guest."""

    def __init__(self, port: VpPort, mailbox: Mailbox, shared: Shared, journal: Journal | None) -> None:
        self.port = port
        self.counts = ExitCounts()
        self._mailbox = mailbox
        self._shared = shared
        self._journal = journal
        self._assist_page = 0

    def serve(self) -> None:
        """Answer the request in the mailbox, if there is one."""
        request = self._mailbox.take()
        if request is None:
            return
        try:
            result = self._serve(request)
        except RegisterFault as fault:
            self.counts.faults += 1
            if self._journal:
                self._journal("fault", str(fault))
            self._mailbox.answer(fault=True)
        else:
            if result is not None:
                self._mailbox.answer(result)

    def _serve(self, request: Request) -> int | None:
        """The result; None if it has been given already."""
        match request.kind:
            case Kind.STARTED:
                return 0
            case Kind.MSR_READ:
                self.counts.msr_reads += 1
                return self._read(request.a)
            case Kind.MSR_WRITE:
                self.counts.msr_writes += 1
                self._write(request.a, request.b, request.tsc)
                return 0
            case Kind.HYPERCALL:
                return self._hypercall(request)
            case Kind.SHUTDOWN:
                raise TripleFault(f"the guest's VP {self.port.vp} stopped by a triple fault at {request.a:#x}")
        raise RuntimeError(
            f"VP {self.port.vp}: exit {request.a:#x} {request.b:#x} {request.c:#x}, which nobody expects"
        )

    def _hypercall(self, request: Request) -> int | None:
        """HvSignalEvent is answered here and now, and passed on as a cast: Linux does not look at its result."""
        control, rdx, r8 = request.a, request.b, request.c
        if control & CODE_MASK == Code.SIGNAL_EVENT:
            self.counts.casts += 1
            self._mailbox.answer(Status.SUCCESS)
            self.port.cast(control, rdx, r8)
            return None
        self.counts.calls += 1
        return self.port.hypercall(control, rdx, r8)

    # --- MSRs -----------------------------------------------------------------------------------------------------

    def _read(self, number: int) -> int:
        match number:
            case Msr.VP_INDEX:
                return self.port.vp
            case Msr.TIME_REF_COUNT:
                return self._shared.clock.now()
            case Msr.TSC_FREQUENCY:
                return self._shared.clock.tsc_hz
            case Msr.APIC_FREQUENCY:
                return APIC_HZ
            case Msr.VP_ASSIST_PAGE:
                return self._assist_page
            case Msr.CRASH_CTL:
                return CRASH_NOTIFY | CRASH_MESSAGE
            case number if number in OURS:
                return self._shared.registers.get(number, 0)
        return self.port.read_register(number)

    def _write(self, number: int, value: int, tsc: int) -> None:
        match number:
            case Msr.VP_INDEX | Msr.TIME_REF_COUNT | Msr.TSC_FREQUENCY | Msr.APIC_FREQUENCY:
                raise RegisterFault(f"MSR {number:#x} cannot be written")
            case Msr.VP_ASSIST_PAGE:
                self._assist_page = value
            case Msr.HYPERCALL:
                self._place(value, HYPERCALL_CODE)
            case Msr.REFERENCE_TSC:
                self._place(value, self._shared.clock.page(tsc))
            case Msr.CRASH_CTL if value & CRASH_NOTIFY:
                self._crash(bool(value & CRASH_MESSAGE))
            case number if number not in OURS:
                self.port.write_register(number, value)
        if number in OURS:
            self._shared.registers[number] = value

    def _place(self, register: int, content: bytes) -> None:
        """Fill the page that a register puts somewhere. The TLFS overlays it; here it is the guest's own RAM."""
        if register & ENABLE:
            pfn = register // PAGE_SIZE
            if pfn >= self._shared.ram.pages:
                raise RegisterFault(f"page {pfn:#x} is beyond the guest's memory")
            self._shared.ram.page(pfn)[: len(content)] = content

    def _crash(self, with_text: bool) -> None:
        """``hyperv_report_panic`` and ``hv_kmsg_dump``: the guest's last words."""
        parameters = [self._shared.registers.get(Msr.CRASH_P0 + n, 0) for n in range(5)]
        if with_text:
            at, length = parameters[3], min(parameters[4], CRASH_TEXT_MAX)
            text = panic_line(self._shared.ram.bytes[at : at + length].tobytes())
        else:
            text = "no message; crash parameters " + " ".join(f"{value:#x}" for value in parameters)
        self.port.crash(text)

    def snapshot(self) -> dict[str, Any]:
        """What this VP has counted, as plain data."""
        return {
            "exits": {name: getattr(self.counts, name) for name in self.counts.__slots__},
            **{name: getattr(self.port.counts, name) for name in self.port.counts.__slots__},
            "merged": dict(self.port.merged),
            "sent": self.port.sent,
            "received": self.port.received,
        }


def panic_line(log: bytes) -> str:
    """Of the end of a kernel's log, the line that says why it panicked; else the last one."""
    lines = [line for line in log.rstrip(b"\0").decode(errors="replace").splitlines() if line]
    panics = [line for line in lines if "Kernel panic" in line]
    return (panics or lines or ["no message"])[-1].partition("] ")[2] or "no message"
