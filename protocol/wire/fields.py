"""The kinds of fields that structures are declared with: ``relid: Relid = u32(8)``.

Each function stands where ``dataclasses.field`` would and puts a ``Field`` into the metadata. ``since``, ``before`` and
``feature`` say in which dialects a message carries the field; outside them it keeps its default.
"""

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import Any, TypedDict, Unpack
from uuid import UUID

from protocol.wire.versions import NO_FEATURE, Feature, Version

TAIL = "Q*"


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field is, how wide (a ``struct`` code), how its value is converted, and when it exists."""

    at: int
    code: str
    to_wire: Callable[[Any], Any] | None = None
    from_wire: Callable[[Any], Any] | None = None
    since: Version | None = None
    before: Version | None = None
    feature: Feature = NO_FEATURE

    @property
    def size(self) -> int:
        """Bytes; 0 for the trailing array."""
        return 0 if self.code == TAIL else struct.calcsize("<" + self.code)

    def exists_in(self, version: int, features: int) -> bool:
        """Whether messages of this version carry it. Where several feature bits are named, any of them will do."""
        if self.since is not None and version < self.since:
            return False
        if self.before is not None and version >= self.before:
            return False
        return not self.feature or bool(features & self.feature)

    def to_bytes(self, value: Any) -> bytes:
        """This field alone; raises whatever ``struct`` or the conversion raises."""
        if self.code == TAIL:
            return struct.pack(f"<{len(value)}Q", *value)
        return struct.pack("<" + self.code, self.to_wire(value) if self.to_wire else value)


def raw_field(at: int, size: int) -> Field:
    """Bytes. ``struct`` fills up a short value with zeros, but would cut a long one without a word."""

    def to_wire(value: bytes) -> bytes:
        if len(value) > size:
            raise ValueError
        return value

    return Field(at, f"{size}s", to_wire)


class When(TypedDict, total=False):
    """In which dialects a field exists."""

    since: Version
    before: Version
    feature: Feature


def _declare(spec: Field, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"wire": spec})


def u8(at: int, *, default: Any = MISSING, **when: Unpack[When]) -> Any:
    return _declare(Field(at, "B", **when), default)


def u16(at: int, *, default: Any = MISSING, **when: Unpack[When]) -> Any:
    return _declare(Field(at, "H", **when), default)


def u32(at: int, *, default: Any = MISSING, **when: Unpack[When]) -> Any:
    return _declare(Field(at, "I", **when), default)


def u64(at: int, *, default: Any = MISSING, **when: Unpack[When]) -> Any:
    return _declare(Field(at, "Q", **when), default)


def bit0(at: int, code: str, *, default: Any = MISSING) -> Any:
    """The lowest bit of a byte ("B") or a word ("H") whose other bits are reserved."""

    def to_wire(value: int) -> int:
        if value not in (0, 1):
            raise ValueError
        return value

    return _declare(Field(at, code, to_wire, (1).__and__), default)


def guid(at: int, *, default: Any = MISSING, **when: Unpack[When]) -> Any:
    """16 bytes; the first three groups are little endian, the last two as written."""
    return _declare(Field(at, "16s", lambda value: value.bytes_le, lambda raw: UUID(bytes_le=raw), **when), default)


def raw(at: int, size: int, *, default: Any = MISSING) -> Any:
    """``size`` bytes; a shorter value is filled up with zeros when it is written."""
    return _declare(raw_field(at, size), default)


def words(at: int) -> Any:
    """As many u64 as there are, to the end of the message: a tuple."""
    return _declare(Field(at, TAIL), MISSING)
