"""The few words of ACPI machine language that our DSDT is written in (ACPI specification, chapter 20)."""

from __future__ import annotations

import struct


def _length(body: bytes) -> bytes:
    """PkgLength, which counts itself, and the body."""
    size = len(body) + 1
    if size < 0x40:
        return bytes([size]) + body
    size += 1
    return bytes([0x40 | size & 0xF, size >> 4]) + body


def integer(value: int) -> bytes:
    """ZeroOp, OneOp, or a constant of 8 or 32 bits."""
    if value < 2:
        return bytes([value])
    return struct.pack("<BB", 0x0A, value) if value < 0x100 else struct.pack("<BI", 0x0C, value)


def string(text: str) -> bytes:
    return b"\x0d" + text.encode() + b"\0"


def name(path: str, value: bytes) -> bytes:
    """DefName; ``path`` is one NameSeg of four characters."""
    return b"\x08" + path.encode() + value


def package(*elements: bytes) -> bytes:
    return b"\x12" + _length(bytes([len(elements)]) + b"".join(elements))


def scope(path: str, *terms: bytes) -> bytes:
    return b"\x10" + _length(path.encode() + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return b"\x5b\x82" + _length(path.encode() + b"".join(terms))


def resources(*descriptors: bytes) -> bytes:
    """A resource template: a buffer of descriptors and the end tag."""
    data = b"".join(descriptors) + b"\x79\x00"
    return b"\x11" + _length(integer(len(data)) + data)


def irq(number: int) -> bytes:
    """An interrupt of the ISA bus."""
    return struct.pack("<BH", 0x22, 1 << number)


def memory_window(start: int, size: int) -> bytes:
    """Address space that the device hands on to its children: DWORD, memory, producer, fixed, cacheable, writable."""
    return struct.pack("<BHBBBIIIII", 0x87, 23, 0, 0x0C, 0x03, 0, start, start + size - 1, 0, size)
