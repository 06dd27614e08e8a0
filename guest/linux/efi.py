"""What is left of UEFI when a kernel is entered: the system table and the memory map (UEFI 2.7, chapters 4 and 7).

A Generation 2 VM of Hyper-V has this firmware, and ``hvfb_getmem`` of hyperv_fb asks for it: without it the frame
buffer would have to be a PCI device's. There are no runtime services, so the command line says ``efi=noruntime``.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final
from uuid import UUID

from guest.linux.bzimage import E820_RAM, MemoryRange
from protocol.ids import PAGE_SIZE

SYSTEM_TABLE_SIGNATURE: Final = b"IBI SYST"
REVISION_2_70: Final = 2 << 16 | 70
ACPI_20_TABLE: Final = UUID("8868e871-e4f1-11d3-bc22-0080c73c8881")
VENDOR: Final = "vmbus-lab"
LOADER_SIGNATURE: Final = b"EL64"
"""In ``efi_info``: the kernel was loaded by a 64-bit UEFI."""

RESERVED_MEMORY, CONVENTIONAL_MEMORY, WRITE_BACK = 0, 7, 8
DESCRIPTOR: Final = struct.Struct("<IIQQQQ")
DESCRIPTOR_VERSION: Final = 1
SYSTEM_TABLE_SIZE: Final = 120
CONFIGURATION_AT: Final = SYSTEM_TABLE_SIZE
VENDOR_AT: Final = CONFIGURATION_AT + 24
MEMORY_MAP_AT: Final = 0x100


def tables(at: int, rsdp: int, memory: list[MemoryRange]) -> bytes:
    """One page for the address ``at``: system table, its configuration table with ACPI, vendor, memory map."""
    vendor = (VENDOR + "\0").encode("utf-16-le")
    body = struct.pack("<QII", at + VENDOR_AT, 1, 0) + bytes(8 * 8) + struct.pack("<QQ", 1, at + CONFIGURATION_AT)

    def header(checksum: int) -> bytes:
        return struct.pack("<8sIIII", SYSTEM_TABLE_SIGNATURE, REVISION_2_70, SYSTEM_TABLE_SIZE, checksum, 0)

    table = header(zlib.crc32(header(0) + body)) + body
    page = table + ACPI_20_TABLE.bytes_le + struct.pack("<Q", rsdp) + vendor
    return (page.ljust(MEMORY_MAP_AT, b"\0") + _memory_map(memory)).ljust(PAGE_SIZE, b"\0")


def info(at: int, ranges: int) -> bytes:
    """``struct efi_info`` of the zero page."""
    size = ranges * DESCRIPTOR.size
    return struct.pack(
        "<4sIIIIIII", LOADER_SIGNATURE, at, DESCRIPTOR.size, DESCRIPTOR_VERSION, at + MEMORY_MAP_AT, size, 0, 0
    )


def _memory_map(memory: list[MemoryRange]) -> bytes:
    """Whole pages; the odd end of a range is nobody's."""
    return b"".join(
        DESCRIPTOR.pack(
            CONVENTIONAL_MEMORY if entry.kind == E820_RAM else RESERVED_MEMORY,
            0,
            entry.start,
            0,
            (entry.end - entry.start) // PAGE_SIZE,
            WRITE_BACK,
        )
        for entry in memory
    )
