"""Hyper-V's synthetic MSRs besides the SynIC's (TLFS; asm/hyperv-tlfs.h), and the two pages that some of them place."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Msr(IntEnum):
    GUEST_OS_ID = 0x4000_0000
    HYPERCALL = 0x4000_0001
    VP_INDEX = 0x4000_0002
    TIME_REF_COUNT = 0x4000_0020
    REFERENCE_TSC = 0x4000_0021
    TSC_FREQUENCY = 0x4000_0022
    APIC_FREQUENCY = 0x4000_0023
    VP_ASSIST_PAGE = 0x4000_0073
    CRASH_P0 = 0x4000_0100
    CRASH_P1 = 0x4000_0101
    CRASH_P2 = 0x4000_0102
    CRASH_P3 = 0x4000_0103
    CRASH_P4 = 0x4000_0104
    CRASH_CTL = 0x4000_0105
    TSC_INVARIANT_CONTROL = 0x4000_0118


ENABLE: Final = 1
"""Bit 0 of the registers that place a page; the page number is in the bits from 12."""
CRASH_NOTIFY: Final = 1 << 63
CRASH_MESSAGE: Final = 1 << 62
"""P3 and P4 are address and length of a text."""
APIC_HZ: Final = 1_000_000_000
"""QEMU's local APIC timer counts nanoseconds."""
HYPERCALL_CODE: Final = bytes([0x0F, 0x01, 0xD9, 0xC3])
"""VMMCALL; RET."""
