"""What lies in a guest's memory before it is switched on."""

from __future__ import annotations

import itertools
import struct

import pytest

from guest.linux import acpi, cpio, layout, vmcb
from guest.linux.bzimage import SETUP_HEADER, BzImage
from guest.linux.image import BootImage
from guest.linux.initramfs import initramfs, module_name
from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE

MIB = 1 << 20


def kernel(init_size: int = 8 * MIB, xloadflags: int = 1) -> bytes:
    """A bzImage with nothing in it."""
    data = bytearray(5 * 512)
    data[0x1F1] = 3
    data[0x201] = 0x66
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, 0x20F)
    struct.pack_into("<H", data, 0x236, xloadflags)
    struct.pack_into("<I", data, 0x260, init_size)
    return bytes(data) + b"the code"


def test_a_bzimage_is_split_behind_its_setup_sectors() -> None:
    image = BzImage.parse(kernel())
    assert image.code == bytes(512) + b"the code"
    assert image.init_size == 8 * MIB
    assert len(image.header) == 0x202 + 0x66 - SETUP_HEADER


@pytest.mark.parametrize("data", [b"", bytes(4096), kernel(xloadflags=0)])
def test_what_is_no_64_bit_kernel_is_refused(data: bytes) -> None:
    with pytest.raises(OperatorError):
        BzImage.parse(data)


def test_nothing_in_memory_overlaps() -> None:
    contents = BootImage(kernel(), bytes(3 * MIB), "quiet", 8).place(64 * MIB)
    spans = sorted((address, address + len(content)) for address, content in contents.items())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert spans[-1][1] <= 64 * MIB


def test_memory_that_cannot_hold_the_kernel_is_refused_with_what_can() -> None:
    image = BootImage(kernel(), bytes(3 * MIB), "quiet", 1)
    with pytest.raises(OperatorError, match="from 36 to 2048"):
        image.place(16 * MIB)
    image.place(36 * MIB)


def test_the_memory_map_keeps_linux_off_the_shim() -> None:
    page = BootImage(kernel(), b"", "quiet", 1).place(64 * MIB)[layout.BOOT_PARAMS]
    entries = [struct.unpack_from("<QQI", page, 0x2D0 + 20 * n) for n in range(page[0x1E8])]
    usable = [(start, start + size) for start, size, kind in entries if kind == 1]
    assert usable == [(0, layout.LOW_RAM_END), (layout.RESERVED_END, 64 * MIB - layout.VRAM_SIZE)]


def test_the_window_of_the_wake_up_mailbox_is_not_mapped_at_first() -> None:
    directory = struct.unpack("<512Q", vmcb.page_tables()[PAGE_SIZE:])
    missing = [number for number, entry in enumerate(directory) if not entry & 1]
    assert missing == [layout.WAKEUP_MAILBOX >> 30]


def test_every_acpi_table_adds_up_to_zero() -> None:
    at = layout.ACPI_TABLES
    image = acpi.tables(at, 4, 56 * MIB)
    assert len(image) <= layout.ACPI_TABLES_END - at
    assert sum(image[:20]) % 256 == sum(image[:36]) % 256 == 0
    (xsdt,) = struct.unpack_from("<Q", image, 24)

    def table(address: int) -> bytes:
        (length,) = struct.unpack_from("<I", image, address - at + 4)
        return image[address - at : address - at + length]

    fadt, madt = (table(address) for address in struct.unpack("<QQ", table(xsdt)[36:]))
    dsdt = table(struct.unpack_from("<Q", fadt, 140)[0])
    assert [part[:4] for part in (table(xsdt), fadt, madt, dsdt)] == [b"XSDT", b"FACP", b"APIC", b"DSDT"]
    assert all(sum(part) % 256 == 0 for part in (table(xsdt), fadt, madt, dsdt))
    assert b"VMBus\0" in dsdt


def test_numa_nodes_share_processors_and_memory() -> None:
    table = acpi.srat([[0, 2], [1]], 64 * MIB)
    assert table[:4] == b"SRAT" and sum(table) % 256 == 0
    processors, memory, at = [], [], 48
    while at < len(table):
        kind, size = table[at], table[at + 1]
        if kind == 0:
            processors.append((table[at + 2], table[at + 3]))
        else:
            node, _, start, length = struct.unpack_from("<IHQQ", table, at + 2)
            memory.append((node, start, length))
        at += size
    assert processors == [(0, 0), (0, 2), (1, 1)]
    assert memory == [(0, 0, 32 * MIB), (1, 32 * MIB, 32 * MIB)]


def test_an_archive_is_what_the_kernel_unpacks() -> None:
    data = cpio.archive([cpio.directory("dev"), cpio.file("init", b"#!/bin/sh\n", executable=True)])
    names, at = [], 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = numbers[6], numbers[11]
        names.append(data[at + 110 : at + 109 + name_size].decode())
        at = (at + 110 + name_size + 3) // 4 * 4
        at = (at + size + 3) // 4 * 4
    assert names == ["dev", "init", "TRAILER!!!"]


def test_only_modules_that_there_are_are_listed() -> None:
    data = initramfs(b"busybox", {"hv_vmbus": b"one", "hv_storvsc": b"two"}, {"/init": b"#!/bin/sh\n"})
    assert b"hv_vmbus\nhv_storvsc\n" in data


def test_a_module_that_cannot_be_removed_is_there_and_not_loaded() -> None:
    data = initramfs(b"busybox", {"hv_vmbus": b"one", "hv_balloon": b"two"}, {"/init": b"#!/bin/sh\n"})
    assert b"lib/modules/hv_balloon.ko" in data
    assert b"hv_balloon\n" not in data


@pytest.mark.parametrize("path", ["a/hv_utils.ko", "hv-utils.ko.xz"])
def test_modules_are_known_by_the_kernels_name(path: str) -> None:
    assert module_name(path) == "hv_utils"
