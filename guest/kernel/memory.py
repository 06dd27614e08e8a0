"""Kernel memory: what the CPUs of the emulated guest share, as naturally aligned 64-bit words.

Every CPU of the guest is a process, and what Linux shares between CPUs as words is shared here as words of one
mapped segment. A structure is declared like a C struct; each field says who may write it, because no store here is
atomic with the load before it: either one CPU owns the word, or the holder of a lock does.

Readers need no lock: an aligned 64-bit store through ``memoryview.cast("Q")`` is never seen half done. That is what
lets /proc and /sys be rendered by a process that stops nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar, overload


class Field:
    """A member of a :class:`Struct`: ``words`` of it, ``offset`` words from the start of the structure.

    ``writer`` names the CPU or the lock that may store to it.
    """

    __slots__ = ("offset", "words", "writer")

    def __init__(self, words: int, writer: str) -> None:
        self.words = words
        self.writer = writer
        self.offset = 0

    def view(self, at: Struct) -> memoryview:
        """The words themselves."""
        start = at.base + self.offset
        return at.memory[start : start + self.words]


class Word(Field):
    """One unsigned 64-bit word."""

    __slots__ = ()

    def __init__(self, writer: str) -> None:
        super().__init__(1, writer)

    @overload
    def __get__(self, at: None, owner: type) -> Word: ...
    @overload
    def __get__(self, at: Struct, owner: type) -> int: ...
    def __get__(self, at: Struct | None, owner: type) -> Word | int:
        if at is None:
            return self
        value: int = at.memory[at.base + self.offset]
        return value

    def __set__(self, at: Struct, value: int) -> None:
        at.memory[at.base + self.offset] = value


class Bytes(Field):
    """``size`` raw bytes, a multiple of 8; shorter values are padded with zeros."""

    __slots__ = ()

    def __init__(self, size: int, writer: str) -> None:
        super().__init__(size // 8, writer)

    @overload
    def __get__(self, at: None, owner: type) -> Bytes: ...
    @overload
    def __get__(self, at: Struct, owner: type) -> bytes: ...
    def __get__(self, at: Struct | None, owner: type) -> Bytes | bytes:
        return self if at is None else self.view(at).tobytes()

    def __set__(self, at: Struct, value: bytes) -> None:
        self.view(at)[:] = memoryview(value.ljust(self.words * 8, b"\0")).cast("Q")


class Text(Field):
    """A NUL-terminated string of at most ``size - 1`` bytes of UTF-8, ``size`` a multiple of 8; longer text is cut."""

    __slots__ = ()

    def __init__(self, size: int, writer: str) -> None:
        super().__init__(size // 8, writer)

    @overload
    def __get__(self, at: None, owner: type) -> Text: ...
    @overload
    def __get__(self, at: Struct, owner: type) -> str: ...
    def __get__(self, at: Struct | None, owner: type) -> Text | str:
        return self if at is None else self.view(at).tobytes().split(b"\0", 1)[0].decode(errors="ignore")

    def __set__(self, at: Struct, value: str) -> None:
        size = self.words * 8
        self.view(at)[:] = memoryview(value.encode()[: size - 1].ljust(size, b"\0")).cast("Q")


class Array(Field):
    """``count`` words in a row, one per CPU as a rule; ``struct.field[i]`` loads and stores one of them."""

    __slots__ = ()

    @overload
    def __get__(self, at: None, owner: type) -> Array: ...
    @overload
    def __get__(self, at: Struct, owner: type) -> memoryview: ...
    def __get__(self, at: Struct | None, owner: type) -> Array | memoryview:
        return self if at is None else self.view(at)


class StructType(type):
    """Makes every structure one of words alone: an attribute that is not declared cannot be set."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> StructType:
        namespace.setdefault("__slots__", ())
        return super().__new__(mcls, name, bases, namespace, **kwargs)


class Struct(metaclass=StructType):
    """A view on one structure in kernel memory. Holds no state of its own: two views of one place are equal in all.

    To store to an attribute that is no field raises ``AttributeError``: no other CPU would ever see it.
    """

    __slots__ = ("base", "memory")
    fields: ClassVar[dict[str, Field]] = {}
    size: ClassVar[int] = 0
    """Words."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.fields = dict(cls.fields)
        offset = cls.size
        for name, field in vars(cls).items():
            if isinstance(field, Field):
                field.offset = offset
                offset += field.words
                cls.fields[name] = field
        cls.size = offset

    def __init__(self, memory: memoryview, base: int) -> None:
        self.memory = memory
        self.base = base

    def clear(self, start: int = 0) -> None:
        """Zero it, from its ``start``-th word on."""
        self.memory[self.base + start : self.base + self.size] = memoryview(bytes(8 * (self.size - start))).cast("Q")


S = TypeVar("S", bound=Struct)


class Table(Generic[S]):
    """An array of structures in kernel memory."""

    __slots__ = ("_items", "_words")

    def __init__(self, struct: type[S], memory: memoryview, base: int, count: int) -> None:
        self._words = memory[base : base + count * struct.size]
        self._items = [struct(memory, base + i * struct.size) for i in range(count)]

    def __getitem__(self, index: int) -> S:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[S]:
        return iter(self._items)

    def column(self, word: Word) -> list[int]:
        """``word`` of every structure, read much faster than one by one."""
        column: list[int] = self._words[word.offset :: len(self._words) // len(self._items)].tolist()
        return column


class Symbol(Struct):
    """Where a table lies: the kallsyms of the segment. Every CPU stores the same words when it builds its kernel."""

    name = Text(48, "every CPU, the same value")
    place = Word("every CPU, the same value")
    count = Word("every CPU, the same value")


SYMBOLS = 256


class KernelMemory:
    """The segment, and where each table lies in it.

    Tables are placed one after the other in the order of the calls, so every process that builds the same kernel for
    the same number of CPUs finds them at the same place. The symbol table at the start lets a process that builds no
    kernel find them by the name of their structure.
    """

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self._symbols = Table(Symbol, words, 0, SYMBOLS)
        self._placed = 0
        self._next = Symbol.size * SYMBOLS

    def table(self, struct: type[S], count: int) -> Table[S]:
        """Place ``count`` structures. Raises ``MemoryError`` if the segment is too small."""
        base = self._next
        self._next += struct.size * count
        if self._next > len(self.words):
            raise MemoryError(f"kernel memory is full: {struct.__name__} x {count} needs {self._next} words")
        symbol = self._symbols[self._placed]
        self._placed += 1
        symbol.name, symbol.place, symbol.count = struct.__name__, base, count
        return Table(struct, self.words, base, count)

    def one(self, struct: type[S]) -> S:
        """Place a single structure."""
        return self.table(struct, 1)[0]

    def find(self, struct: type[S], number: int = 0) -> Table[S]:
        """The table of ``struct`` that a kernel has placed here, or the ``number``-th, from 0, if it has several.

        Raises ``LookupError`` if there is none yet.
        """
        named = (symbol for symbol in self._symbols if symbol.count and symbol.name == struct.__name__)
        symbol = next(islice(named, number, None), None)
        if symbol is None:
            raise LookupError(f"no kernel has placed {struct.__name__} here")
        return Table(struct, self.words, symbol.place, symbol.count)

    @property
    def used(self) -> int:
        """Words placed so far."""
        return self._next
