"""The hypervisor's CPUID leaves (TLFS, feature discovery): what makes Linux believe that it runs on Hyper-V.

Offered is what the bridge serves and no more: SynIC, hypercalls, reference time, crash MSRs. No synthetic timers, so
Linux keeps to its local APIC timer; no spin-lock or flush hypercalls.
"""

from __future__ import annotations

import struct
from typing import Final

from protocol.ids import PAGE_SIZE

TIME_REF_COUNT, SYNIC, HYPERCALL_MSRS, VP_INDEX = 1 << 1, 1 << 2, 1 << 5, 1 << 6
REFERENCE_TSC, FREQUENCY_MSRS, TSC_INVARIANT = 1 << 9, 1 << 11, 1 << 15
POST_MESSAGES, SIGNAL_EVENTS = 1 << 4, 1 << 5
FREQUENCIES_AVAILABLE, CRASH_MSRS = 1 << 8, 1 << 10
RELAXED_TIMING, DEPRECATE_AUTO_EOI = 1 << 5, 1 << 9
NEVER_NOTIFY_SPINNING: Final = 0xFFFF
BUILD, MAJOR, MINOR = 17763, 10, 0
"""Windows Server 2019."""

MAX_LEAF: Final = 0x4000_0006


def _words(text: bytes) -> list[int]:
    return [word for (word,) in struct.iter_unpack("<I", text)]


def leaves(vcpus: int) -> dict[int, tuple[int, int, int, int]]:
    """EAX, EBX, ECX, EDX by leaf; others are 0."""
    vendor, interface = _words(b"Microsoft Hv"), _words(b"Hv#1")
    features = TIME_REF_COUNT | SYNIC | HYPERCALL_MSRS | VP_INDEX | REFERENCE_TSC | FREQUENCY_MSRS | TSC_INVARIANT
    return {
        0x4000_0000: (MAX_LEAF, vendor[0], vendor[1], vendor[2]),
        0x4000_0001: (interface[0], 0, 0, 0),
        0x4000_0002: (BUILD, MAJOR << 16 | MINOR, 0, 0),
        0x4000_0003: (features, POST_MESSAGES | SIGNAL_EVENTS, 0, FREQUENCIES_AVAILABLE | CRASH_MSRS),
        0x4000_0004: (RELAXED_TIMING | DEPRECATE_AUTO_EOI, NEVER_NOTIFY_SPINNING, 0, 0),
        0x4000_0005: (vcpus, vcpus, 0, 0),
    }


def table(vcpus: int) -> bytes:
    """The page in which the shim looks them up; ends with zeros."""
    page = b"".join(struct.pack("<5I", leaf, *registers) for leaf, registers in leaves(vcpus).items())
    assert len(page) + 20 <= PAGE_SIZE
    return page
