"""Byte layouts, declared once: a field is one line with a name, a type and an offset.

Everything on the VMBus is little endian and packed. Bytes that no field names are padding: written as zero and not
looked at when read, as the kernel's reserved fields are. Offsets are written out, not counted, so that a declaration
can be laid beside the C structure and compared with it by a test (``Layout.fields`` is ``{name: (offset, size)}``).

Simplified: no nested structures, and no arrays but one trailing array of u64.
"""

import dataclasses
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from protocol.errors import OperatorError, PeerError
from protocol.wire.fields import TAIL, Field, bit0, guid, raw, u8, u16, u32, u64, words

Readable = bytes | bytearray | memoryview
Values = tuple[Any, ...]


class ShortMessage(PeerError):
    """The peer sent fewer bytes than the structure has: says which structure, and the first field that is cut."""

    def __init__(self, structure: str, field: str, needed: int, got: int) -> None:
        super().__init__(f"{structure}: {got} bytes, but {field} ends at {needed}")
        self.structure = structure
        self.field = field


class DoesNotFit(OperatorError):
    """This side asked for a value that the wire format cannot carry."""


class Layout:
    """The bytes of one structure, compiled once; packs and unpacks plain values in the order of their offsets.

    ``size`` is what is written; a reader asks only for the bytes up to the end of the last named field. In a message
    ``start`` is 8: offsets count from the message's first byte, and its header is packed elsewhere.
    """

    __slots__ = (
        "_decoders",
        "_encoders",
        "_get",
        "_pack",
        "_specs",
        "_tail",
        "_unpack",
        "fields",
        "name",
        "size",
        "start",
    )

    def __init__(self, name: str, specs: Mapping[str, Field], size: int | None = None, start: int = 0) -> None:
        self.name = name
        self.start = start
        self._specs = dict(sorted(specs.items(), key=lambda item: item[1].at))
        self.fields = {field: (spec.at, spec.size) for field, spec in self._specs.items()}
        code, end = "<", start
        for field, spec in self._specs.items():
            if spec.at < end:
                raise TypeError(f"{name}.{field} overlaps the field before it")
            code += f"{spec.at - end}x" + spec.code.removesuffix(TAIL)
            end = spec.at + spec.size
        self.size = end if size is None else size
        self._unpack = struct.Struct(code)
        self._pack = struct.Struct(code + f"{self.size - end}x")
        self._tail = any(spec.code == TAIL for spec in self._specs.values())
        self._encoders = [(i, spec.to_wire) for i, spec in enumerate(self._specs.values()) if spec.to_wire]
        self._decoders = [(i, spec.from_wire) for i, spec in enumerate(self._specs.values()) if spec.from_wire]
        self._get = attrgetter(*self._specs) if len(self._specs) > 1 else self._get_few

    def _get_few(self, obj: object) -> Values:
        return tuple(getattr(obj, field) for field in self._specs)

    def values_of(self, obj: object) -> Values:
        """The attributes of ``obj`` that this layout carries, in layout order."""
        values: Values = self._get(obj)
        return values

    def pack(self, *values: Any) -> bytes:
        """Values in layout order to ``size - start`` bytes, tail on top. Raises DoesNotFit, which names the field."""
        try:
            wire = _converted(values, self._encoders) if self._encoders else values
            if self._tail:
                return self._pack.pack(*wire[:-1]) + struct.pack(f"<{len(wire[-1])}Q", *wire[-1])
            return self._pack.pack(*wire)
        except (struct.error, ValueError, TypeError, AttributeError):
            raise self._misfit(values) from None

    def unpack(self, data: Readable, at: int = 0) -> Values:
        """The values of the structure that begins at ``data[at]``. Raises ShortMessage; extra bytes do not matter."""
        try:
            values = self._unpack.unpack_from(data, at + self.start)
        except struct.error:
            raise self._short(len(data) - at) from None
        if self._tail:
            tail = at + self.start + self._unpack.size
            values = (*values, struct.unpack_from(f"<{(len(data) - tail) // 8}Q", data, tail))
        return _converted(values, self._decoders) if self._decoders else values

    def _short(self, got: int) -> ShortMessage:
        for field, (at, size) in self.fields.items():
            if at + size > got:
                return ShortMessage(self.name, field, at + size, got)
        return ShortMessage(self.name, "header", self.start, got)

    def _misfit(self, values: Values) -> DoesNotFit:
        for (field, spec), value in zip(self._specs.items(), values, strict=True):
            try:
                spec.to_bytes(value)
            except (struct.error, ValueError, TypeError, AttributeError):
                return DoesNotFit(f"{self.name}.{field}: cannot be {value!r}")
        raise AssertionError(f"{self.name}: every field fits alone")


def _converted(values: Values, converters: Iterable[tuple[int, Callable[[Any], Any]]]) -> Values:
    changed = list(values)
    for index, convert in converters:
        changed[index] = convert(changed[index])
    return tuple(changed)


def specs_of(cls: type) -> dict[str, Field]:
    """The fields that a dataclass declares with the functions of ``fields``."""
    return {field.name: field.metadata["wire"] for field in dataclasses.fields(cls)}


class Structure:
    """Base of the structures that have one layout: ``encode()`` and ``decode(data, at)``."""

    __slots__ = ()
    layout: ClassVar[Layout]

    def encode(self) -> bytes:
        return self.layout.pack(*self.layout.values_of(self))

    @classmethod
    def decode(cls, data: Readable, at: int = 0) -> Self:
        return cls(*cls.layout.unpack(data, at))


S = TypeVar("S", bound=Structure)


@dataclass_transform(frozen_default=True, field_specifiers=(u8, u16, u32, u64, bit0, guid, raw, words))
def structure(*, size: int | None = None, start: int = 0) -> Callable[[type[S]], type[S]]:
    """Make the class a frozen, slotted dataclass with a compiled layout. Fields stand in the order of their offsets.

    A structure with a header of ``start`` bytes packs that itself, and its fields' offsets count from the header.
    """

    def declare(cls: type[S]) -> type[S]:
        made = dataclass(frozen=True, slots=True)(cls)
        made.layout = Layout(cls.__name__, specs_of(made), size, start)
        if list(made.layout.fields) != list(specs_of(made)):
            raise TypeError(f"{cls.__name__}: fields are not in the order of their offsets")
        return made

    return declare
