"""Where everything is in the guest's memory. The shim gets these numbers from here when it is built.

The first MiB is that of a PC: RAM for Linux's real-mode code, and the shim's ROM at its end. The second MiB belongs to
the shim and the bridge, and the guest's memory map calls it reserved. Linux has the rest.
"""

from __future__ import annotations

from typing import Final

from protocol.ids import PAGE_SIZE

LOW_RAM_END: Final = 0x9_F000

ROM: Final = 0xF_0000
ROM_SIZE: Final = 0x1_0000
"""QEMU takes firmware in multiples of 64 KiB, and the processor starts in its last 16 bytes."""
PARK: Final = 0xF_E000
"""The reset vector of the ACPI wake-up mailbox: where a processor waits that Linux does not use."""

RESERVED: Final = 0x10_0000
RESERVED_END: Final = 0x20_0000
PAGE_TABLES: Final = 0x10_0000
"""Two pages: identity mapping for the shim, for Linux until it has its own, and from guest-physical memory."""
MSR_PERMISSIONS: Final = 0x10_2000
"""Two pages of zeros: MSRs of the three ranges that AMD's map covers are the guest's; all others are intercepted."""
CPUID_TABLE: Final = 0x10_4000
WAKEUP_WINDOW: Final = 256 << 30
"""The low GiB is seen here again once Linux has touched it, see the shim's ``first_wakeup``."""
WAKEUP_MAILBOX: Final = WAKEUP_WINDOW + 0x10_5000
BOOT_GDT: Final = 0x10_6000
BOOT_PARAMS: Final = 0x10_7000
COMMAND_LINE: Final = 0x10_8000
ACPI_TABLES: Final = 0x10_9000
ACPI_TABLES_END: Final = 0x10_C000
EFI_TABLES: Final = 0x10_C000
VPS: Final = 0x11_0000
"""Four pages for each VP, as below."""
VP_STRIDE: Final = 4 * PAGE_SIZE
VMCB: Final = 0
HOST_SAVE: Final = PAGE_SIZE
MAILBOX: Final = 2 * PAGE_SIZE
STACK_END: Final = 4 * PAGE_SIZE

MAX_VCPUS: Final = 8

KERNEL: Final = 0x100_0000
RAM_TOP_MAX: Final = 0x8000_0000
"""Up to here q35 has RAM in one piece."""
VRAM_SIZE: Final = 8 << 20
"""The end of RAM, which Linux may not use as such: it is address space of the VMBus, where a frame buffer goes."""

LOCAL_APIC: Final = 0xFEE0_0000
IO_APIC: Final = 0xFEC0_0000
DOORBELL_BAR: Final = 0xFEB0_0000
MSIX_BAR: Final = 0xFEB1_0000
PM_BASE: Final = 0x600
"""I/O ports of the chipset's power management."""

SINTS: Final = 16
"""Each VP has one MSI-X entry for each SINT."""
BRIDGE_PEER: Final = 1
"""The bridge's number among the peers of the ivshmem device; QEMU is 0."""


def vp_block(vp: int) -> int:
    """The address of the four pages of a VP."""
    return VPS + vp * VP_STRIDE


def defines() -> dict[str, int]:
    """What the shim has to know."""
    return {
        "PARK": PARK,
        "PAGE_TABLES": PAGE_TABLES,
        "CPUID_TABLE": CPUID_TABLE,
        "WAKEUP_WINDOW": WAKEUP_WINDOW,
        "WAKEUP_MAILBOX": WAKEUP_MAILBOX,
        "VPS": VPS,
        "VP_STRIDE": VP_STRIDE,
        "VMCB": VMCB,
        "HOST_SAVE": HOST_SAVE,
        "MAILBOX": MAILBOX,
        "STACK_END": STACK_END,
        "LOCAL_APIC": LOCAL_APIC,
        "DOORBELL_BAR": DOORBELL_BAR,
        "MSIX_BAR": MSIX_BAR,
        "PM_BASE": PM_BASE,
        "SINTS": SINTS,
        "BRIDGE_PEER": BRIDGE_PEER,
    }
