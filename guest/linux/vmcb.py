"""The first state of the virtual processors: page tables, control blocks, boot descriptors.

AMD64 Architecture Programmer's Manual, volume 2, appendix B (VMCB); Documentation/arch/x86/boot.rst, "64-bit boot
protocol": processor 0 enters Linux in long mode with an identity mapping, flat segments and interrupts off. The others
start in the shim's waiting place.
"""

from __future__ import annotations

import struct
from typing import Final

from guest.linux import layout
from protocol.ids import PAGE_SIZE

PRESENT_WRITABLE_USER: Final = 0x7
"""Nested tables are walked as user accesses."""
LARGE: Final = 0x80
GIB: Final = 1 << 30

CODE: Final = 0x10
DATA: Final = 0x18
CODE_DESCRIPTOR: Final = 0x00AF_9B00_0000_FFFF
DATA_DESCRIPTOR: Final = 0x00CF_9300_0000_FFFF
CODE_ATTRIBUTES: Final = 0xA9B
DATA_ATTRIBUTES: Final = 0xC93
LDT_ATTRIBUTES: Final = 0x082
TSS_ATTRIBUTES: Final = 0x08B

INTERCEPT_CPUID: Final = 1 << 18
INTERCEPT_MSR: Final = 1 << 28
INTERCEPT_SHUTDOWN: Final = 1 << 31
INTERCEPT_VMRUN: Final = 1 << 0
INTERCEPT_VMMCALL: Final = 1 << 1

CR0_PE_ET_NE_PG: Final = 0x8000_0031
CR4_PAE: Final = 0x20
EFER_LME_LMA_SVME: Final = 0x1500
PAT_RESET: Final = 0x0007_0406_0007_0406

# Offsets in the control area, and in the state area at 0x400.
_CONTROL: Final = {
    "intercepts_3": (0x00C, "I"),
    "intercepts_4": (0x010, "I"),
    "msr_permissions": (0x048, "Q"),
    "asid": (0x058, "I"),
    "nested_paging": (0x090, "Q"),
    "nested_cr3": (0x0B0, "Q"),
}
_STATE: Final = {
    "efer": (0x4D0, "Q"),
    "cr4": (0x548, "Q"),
    "cr3": (0x550, "Q"),
    "cr0": (0x558, "Q"),
    "dr7": (0x560, "Q"),
    "dr6": (0x568, "Q"),
    "rflags": (0x570, "Q"),
    "rip": (0x578, "Q"),
    "pat": (0x668, "Q"),
}
_SEGMENT: Final = struct.Struct("<HHIQ")
"""Selector, attributes, limit, base."""
_ES, _CS, _SS, _DS, _FS, _GS, _GDTR, _LDTR, _IDTR, _TR = range(0x400, 0x4A0, 0x10)
_FIELDS: Final = {**_CONTROL, **_STATE}

RSI: Final = layout.MAILBOX + 64 + 3 * 8
"""The guest's RSI among the registers behind the mailbox."""


def page_tables() -> bytes:
    """Two pages that map 512 GiB to themselves, but for the one that tells of the first wake-up."""
    entries = [n * GIB | PRESENT_WRITABLE_USER | LARGE for n in range(512)]
    entries[layout.WAKEUP_WINDOW // GIB] = 0
    top = struct.pack("<Q", layout.PAGE_TABLES + PAGE_SIZE | PRESENT_WRITABLE_USER).ljust(PAGE_SIZE, b"\0")
    return top + struct.pack("<512Q", *entries)


def boot_gdt() -> bytes:
    """The descriptors that the 64-bit boot protocol asks for."""
    return struct.pack("<4Q", 0, 0, CODE_DESCRIPTOR, DATA_DESCRIPTOR)


def vp_block(vp: int, kernel_entry: int) -> bytes:
    """The four pages of a VP. ``kernel_entry`` is where processor 0 begins."""
    block = bytearray(layout.VP_STRIDE)
    values = {
        "intercepts_3": INTERCEPT_CPUID | INTERCEPT_MSR | INTERCEPT_SHUTDOWN,
        "intercepts_4": INTERCEPT_VMRUN | INTERCEPT_VMMCALL,
        "msr_permissions": layout.MSR_PERMISSIONS,
        "asid": 1,
        "nested_paging": 1,
        "nested_cr3": layout.PAGE_TABLES,
        "efer": EFER_LME_LMA_SVME,
        "cr4": CR4_PAE,
        "cr3": layout.PAGE_TABLES,
        "cr0": CR0_PE_ET_NE_PG,
        "dr7": 0x400,
        "dr6": 0xFFFF_0FF0,
        "rflags": 2,
        "rip": layout.PARK if vp else kernel_entry,
        "pat": PAT_RESET,
    }
    for name, value in values.items():
        offset, form = _FIELDS[name]
        struct.pack_into(f"<{form}", block, offset, value)
    _SEGMENT.pack_into(block, _CS, CODE, CODE_ATTRIBUTES, 0xFFFF_FFFF, 0)
    for segment in (_ES, _SS, _DS, _FS, _GS):
        _SEGMENT.pack_into(block, segment, DATA, DATA_ATTRIBUTES, 0xFFFF_FFFF, 0)
    _SEGMENT.pack_into(block, _GDTR, 0, 0, len(boot_gdt()) - 1, layout.BOOT_GDT)
    _SEGMENT.pack_into(block, _LDTR, 0, LDT_ATTRIBUTES, 0xFFFF, 0)
    _SEGMENT.pack_into(block, _TR, 0, TSS_ATTRIBUTES, 0xFFFF, 0)
    struct.pack_into("<Q", block, RSI, layout.BOOT_PARAMS)
    return bytes(block)
