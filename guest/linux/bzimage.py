"""A bzImage and how to enter it: Documentation/arch/x86/boot.rst and zero-page.rst of the kernel.

The loader's part of ``boot_params`` is filled in: where initramfs, command line, memory and ACPI are. Entered at the
64-bit entry, 512 bytes behind the load address.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE

SETUP_HEADER: Final = 0x1F1
SETUP_SECTS: Final = 0x1F1
MAGIC: Final = 0x202
VERSION: Final = 0x206
TYPE_OF_LOADER: Final = 0x210
RAMDISK: Final = 0x218
CMD_LINE: Final = 0x228
XLOADFLAGS: Final = 0x236
INIT_SIZE: Final = 0x260
ACPI_RSDP: Final = 0x070
EFI_INFO: Final = 0x1C0
E820_ENTRIES: Final = 0x1E8
E820_TABLE: Final = 0x2D0

XLF_KERNEL_64: Final = 1
UNDEFINED_LOADER: Final = 0xFF
ENTRY_64: Final = 0x200

E820_RAM: Final = 1
E820_RESERVED: Final = 2


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """An entry of the E820 map: [start, end)."""

    start: int
    end: int
    kind: int = E820_RAM


@dataclass(frozen=True, slots=True)
class BzImage:
    """The two halves of the file: the setup header, for ``boot_params``, and the code to load."""

    header: bytes
    code: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises OperatorError for anything but a 64-bit kernel of this century."""
        if data[MAGIC : MAGIC + 4] != b"HdrS" or struct.unpack_from("<H", data, VERSION)[0] < 0x20C:
            raise OperatorError("the kernel is not a bzImage of Linux 3.8 or newer")
        if not struct.unpack_from("<H", data, XLOADFLAGS)[0] & XLF_KERNEL_64:
            raise OperatorError("the kernel has no 64-bit entry: give one for x86-64")
        header_end = MAGIC + data[MAGIC - 1]
        setup = (data[SETUP_SECTS] or 4) + 1
        return cls(data[SETUP_HEADER:header_end], data[setup * 512 :])

    @property
    def init_size(self) -> int:
        """Bytes from the load address that the kernel needs for itself until it can read the memory map."""
        size: int = struct.unpack_from("<I", self.header, INIT_SIZE - SETUP_HEADER)[0]
        return size

    def boot_params(
        self, command_line: int, initramfs: tuple[int, int], rsdp: int, efi_info: bytes, memory: list[MemoryRange]
    ) -> bytes:
        """The zero page. ``command_line`` and ``rsdp`` are addresses, ``initramfs`` is (address, bytes)."""
        page = bytearray(PAGE_SIZE)
        page[SETUP_HEADER : SETUP_HEADER + len(self.header)] = self.header
        page[TYPE_OF_LOADER] = UNDEFINED_LOADER
        struct.pack_into("<II", page, RAMDISK, *initramfs)
        struct.pack_into("<I", page, CMD_LINE, command_line)
        struct.pack_into("<Q", page, ACPI_RSDP, rsdp)
        page[EFI_INFO : EFI_INFO + len(efi_info)] = efi_info
        page[E820_ENTRIES] = len(memory)
        for number, entry in enumerate(memory):
            struct.pack_into("<QQI", page, E820_TABLE + 20 * number, entry.start, entry.end - entry.start, entry.kind)
        return bytes(page)
