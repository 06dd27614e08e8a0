"""The firmware's tables (ACPI 6.4): what processors and interrupt controllers there are, how to start a processor, how
to switch the machine off, and that there is a VMBus.

There is no PCI root in the DSDT, so Linux never sees the devices that QEMU has besides.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from guest.linux import aml
from guest.linux.layout import IO_APIC, LOCAL_APIC, PARK, PM_BASE, VRAM_SIZE, WAKEUP_MAILBOX
from protocol.ids import PAGE_SIZE

SCI: Final = 9
"""The interrupt of ACPI events on q35."""
RESET_PORT: Final = 0xCF9
RESET_VALUE: Final = 0x0F
SYSTEM_IO: Final = 1
S5_SLEEP_TYPE: Final = 0
MMIO_WINDOW: Final = (0xC000_0000, 0x1000_0000)
"""``vmbus_allocate_mmio`` hands it out to drivers, of PCI say; nothing is behind it."""

WBINVD, NO_POWER_BUTTON, NO_SLEEP_BUTTON, TIMER_32_BITS, RESET_REGISTER = 1 << 0, 1 << 4, 1 << 5, 1 << 8, 1 << 10
NO_VGA: Final = 1 << 2
ENABLED: Final = 1


def _checksummed(data: bytes, at: int, length: int) -> bytes:
    """``data`` with the byte ``at`` such that the first ``length`` bytes add up to 0."""
    table = bytearray(data)
    table[at] = -sum(table[:length]) & 0xFF
    return bytes(table)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    header = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0, b"VMBLAB", b"VMBUSLAB", 1, b"LAB ", 1
    )
    return _checksummed(header + body, 9, 36 + len(body))


def _io_register(port: int, bits: int) -> bytes:
    """A generic address structure."""
    return struct.pack("<BBBBQ", SYSTEM_IO, bits, 0, 0, port)


def dsdt(vram: int) -> bytes:
    """A VMBus below a module device, as Hyper-V has it, and sleep state 5.

    Address space is handed out from the lowest window that has room, so a frame buffer gets the memory at ``vram``.
    """
    vmbus = aml.device(
        "VMBS",
        aml.name("_HID", aml.string("VMBus")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_STA", aml.integer(0xF)),
        aml.name("_CRS", aml.resources(aml.irq(5))),
    )
    module = aml.device(
        "VMOD",
        aml.name("_HID", aml.string("ACPI0004")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_CRS", aml.resources(aml.memory_window(vram, VRAM_SIZE), aml.memory_window(*MMIO_WINDOW))),
        vmbus,
    )
    sleep = aml.name("_S5_", aml.package(*[aml.integer(S5_SLEEP_TYPE)] * 4))
    return _table(b"DSDT", 2, aml.scope("\\_SB_", module) + sleep)


def madt(vcpus: int) -> bytes:
    """Processors (APIC id = VP index), the I/O APIC, the timer on its input 2, and the wake-up mailbox.

    The mailbox is of version 1, which names a reset vector: Linux from 6.11 can take processors off- and online.
    """
    entries = b"".join(struct.pack("<BBBBI", 0, 8, vp, vp, 1) for vp in range(vcpus))
    entries += struct.pack("<BBBBII", 1, 12, 0, 0, IO_APIC, 0)
    entries += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)
    entries += struct.pack("<BBBBIH", 2, 10, 0, SCI, SCI, 0x000D)
    entries += struct.pack("<BBHIQQ", 0x10, 24, 1, 0, WAKEUP_MAILBOX, PARK)
    return _table(b"APIC", 6, struct.pack("<II", LOCAL_APIC, 1) + entries)


def srat(nodes: Sequence[Sequence[int]], memory: int) -> bytes:
    """Which processors are near which memory: each node has those it names, and an equal part of the RAM.

    Linux believes it only if all of its memory is in some node (``numa_meminfo_cover_memory``).
    """
    part = memory // len(nodes) & -PAGE_SIZE
    entries = b""
    for node, vps in enumerate(nodes):
        entries += b"".join(struct.pack("<BBBBIB3xI", 0, 16, node, vp, ENABLED, 0, 0) for vp in vps)
        start = node * part
        size = part if node < len(nodes) - 1 else memory - start
        entries += struct.pack("<BBIHQQIIQ", 1, 40, node, 0, start, size, 0, ENABLED, 0)
    return _table(b"SRAT", 3, struct.pack("<IQ", 1, 0) + entries)


def fadt(dsdt_at: int) -> bytes:
    """Fixed hardware: power management of q35's chipset, no legacy devices."""
    body = struct.pack("<IIBBHIBBBB", 0, dsdt_at, 0, 0, SCI, 0, 0, 0, 0, 0)
    body += struct.pack("<8I", PM_BASE, 0, PM_BASE + 4, 0, 0, PM_BASE + 8, PM_BASE + 0x20, 0)
    body += struct.pack("<8B", 4, 2, 0, 4, 16, 0, 0, 0)
    body += struct.pack("<HHHHBBBBBHB", 0xFFF, 0xFFF, 0, 0, 0, 0, 0, 0, 0, NO_VGA, 0)
    body += struct.pack("<I", WBINVD | NO_POWER_BUTTON | NO_SLEEP_BUTTON | TIMER_32_BITS | RESET_REGISTER)
    body += _io_register(RESET_PORT, 8) + struct.pack("<BHB", RESET_VALUE, 0, 4)
    body += struct.pack("<QQ", 0, dsdt_at)
    body += _io_register(PM_BASE, 32) + bytes(12) + _io_register(PM_BASE + 4, 16) + bytes(12) + bytes(12)
    body += _io_register(PM_BASE + 8, 32) + _io_register(PM_BASE + 0x20, 128) + bytes(12)
    return _table(b"FACP", 6, body.ljust(276 - 36, b"\0"))


def tables(at: int, vcpus: int, vram: int, nodes: Sequence[Sequence[int]] = ()) -> bytes:
    """All tables, to be put at address ``at``; the root pointer comes first. ``vram``: where video memory is.

    ``nodes``: the processors of each NUMA node; without any, there is no such table.
    """
    rsdp_size = 36
    image = bytearray(64)

    def place(table: bytes) -> int:
        image.extend(bytes(-len(image) % 16))
        address = at + len(image)
        image.extend(table)
        return address

    dsdt_at = place(dsdt(vram))
    pointers = [place(fadt(dsdt_at)), place(madt(vcpus))]
    if nodes:
        pointers.append(place(srat(nodes, vram + VRAM_SIZE)))
    xsdt_at = place(_table(b"XSDT", 1, struct.pack(f"<{len(pointers)}Q", *pointers)))
    rsdp = struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, b"VMBLAB", 2, 0, rsdp_size, xsdt_at, 0)
    rsdp = _checksummed(_checksummed(rsdp, 8, 20), 32, rsdp_size)
    image[:rsdp_size] = rsdp
    return bytes(image)
