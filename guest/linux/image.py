"""The guest's memory as it is when the machine is switched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guest.linux import acpi, cpuid, efi, layout, vmcb
from guest.linux.bzimage import E820_RESERVED, ENTRY_64, BzImage, MemoryRange
from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BootImage:
    """What is booted: a bzImage, an initramfs, the command line, on so many processors, in so many NUMA nodes."""

    kernel: bytes
    initramfs: bytes
    command_line: str
    vcpus: int
    numa: Sequence[Sequence[int]] = ()

    def place(self, memory: int) -> dict[int, bytes]:
        """The contents of a memory of so many bytes, by address; everything else is zero. Raises OperatorError."""
        kernel = BzImage.parse(self.kernel)
        vram = memory - layout.VRAM_SIZE
        initramfs_at = vram - len(self.initramfs) & -PAGE_SIZE
        needed = layout.KERNEL + kernel.init_size
        if initramfs_at < needed or memory > layout.RAM_TOP_MAX:
            lowest = -(-(needed + len(self.initramfs) + layout.VRAM_SIZE) // MIB) + 1
            raise OperatorError(
                f"{memory // MIB} MiB of memory do not fit: from {lowest} to {layout.RAM_TOP_MAX // MIB} will do"
            )
        memory_map = [
            MemoryRange(0, layout.LOW_RAM_END),
            MemoryRange(layout.LOW_RAM_END, layout.RESERVED_END, E820_RESERVED),
            MemoryRange(layout.RESERVED_END, vram),
            MemoryRange(vram, memory, E820_RESERVED),
        ]
        initramfs = (initramfs_at, len(self.initramfs))
        contents = {
            layout.PAGE_TABLES: vmcb.page_tables(),
            layout.CPUID_TABLE: cpuid.table(self.vcpus),
            layout.BOOT_GDT: vmcb.boot_gdt(),
            layout.BOOT_PARAMS: kernel.boot_params(
                layout.COMMAND_LINE,
                initramfs,
                layout.ACPI_TABLES,
                efi.info(layout.EFI_TABLES, len(memory_map)),
                memory_map,
            ),
            layout.COMMAND_LINE: self.command_line.encode() + b"\0",
            layout.ACPI_TABLES: acpi.tables(layout.ACPI_TABLES, self.vcpus, vram, self.numa),
            layout.EFI_TABLES: efi.tables(layout.EFI_TABLES, layout.ACPI_TABLES, memory_map),
            layout.KERNEL: kernel.code,
            initramfs_at: self.initramfs,
        }
        for vp in range(self.vcpus):
            contents[layout.vp_block(vp)] = vmcb.vp_block(vp, layout.KERNEL + ENTRY_64)
        return contents
