"""CPU masks and lists as the kernel prints and reads them (lib/bitmap-str.c). Errors are the kernel's errnos."""

from __future__ import annotations

import errno
import re

_DIGITS = frozenset("0123456789abcdefABCDEF")
_SEPARATORS = re.compile(r"[\s,]+")
_UINT_MAX = (1 << 32) - 1


def format_mask(mask: int, bits: int) -> str:
    """``%*pb``: hexadecimal groups of 32 bits, highest first; the first has as many digits as it has bits for."""
    groups = [f"{mask >> low & _UINT_MAX:0{(min(bits - low, 32) + 3) // 4}x}" for low in range(0, bits, 32)]
    return ",".join(reversed(groups))


def format_list(mask: int) -> str:
    """``%*pbl``: ranges, ``0-3,8``; empty for an empty mask."""
    cpus = [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1]
    starts = [cpu for cpu in cpus if cpu - 1 not in cpus]
    ends = [cpu for cpu in cpus if cpu + 1 not in cpus]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def parse_mask(text: str, bits: int) -> int:
    """``bitmap_parse``, reading groups from the right.

    Raises ``OSError``: EINVAL for a bad digit; EOVERFLOW for a group of more than 8 digits, more groups than ``bits``
    need (even zeros), or a bit outside them.
    """
    mask = 0
    for number, group in enumerate(reversed(_fields(text))):
        if number >= (bits + 31) // 32:
            raise OSError(errno.EOVERFLOW, f"more than {bits} CPUs: {text.strip()!r}")
        if not _DIGITS.issuperset(group[-8:]):
            raise OSError(errno.EINVAL, f"not a hexadecimal mask: {text.strip()!r}")
        if len(group) > 8:
            overflow = group[-9] in _DIGITS
            raise OSError(errno.EOVERFLOW if overflow else errno.EINVAL, f"bad mask: {text.strip()!r}")
        mask |= int(group, 16) << 32 * number
    if mask >> bits:
        raise OSError(errno.EOVERFLOW, f"more than {bits} CPUs: {text.strip()!r}")
    return mask


def parse_list(text: str, bits: int) -> int:
    """``bitmap_parselist`` for single CPUs and ranges (not strides, ``all`` or ``N``).

    Raises ``OSError``: EINVAL for bad syntax or a range that runs backwards, ERANGE for a CPU outside ``bits``, and
    EOVERFLOW for a number that does not fit 32 bits.
    """
    mask = 0
    for field in _fields(text):
        first, _, last = field.partition("-")
        start = _number(first, text)
        end = _number(last, text) if "-" in field else start
        if start > end:
            raise OSError(errno.EINVAL, f"backwards: {field!r}")
        if end >= bits:
            raise OSError(errno.ERANGE, f"there are {bits} CPUs: {field!r}")
        mask |= (1 << end + 1) - (1 << start)
    return mask


def _fields(text: str) -> list[str]:
    return [field for field in _SEPARATORS.split(text) if field]


def _number(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise OSError(errno.EINVAL, f"not a CPU list: {text.strip()!r}")
    if int(digits) > _UINT_MAX:
        raise OSError(errno.EOVERFLOW, f"not a CPU number: {digits}")
    return int(digits)
