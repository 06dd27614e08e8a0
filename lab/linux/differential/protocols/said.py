"""One packet, or one RNDIS message, as the host's journal has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

from host.vsp.endpoint import FROM_GUEST
from lab.linux.differential.streams import Item
from protocol.wire.layout import Structure


class Said(NamedTuple):
    """``payload`` is the beginning of a packet's; ``type`` and ``flags`` are 0 for an RNDIS message, which is whole."""

    event: str
    direction: str
    type: int
    flags: int
    payload: bytes

    @classmethod
    def of(cls, event: str, fields: Sequence[Any]) -> Self:
        """From the fields of an event without their relid."""
        if event == "packet":
            return cls(event, *fields)
        direction, payload = fields
        return cls(event, direction, 0, 0, payload)

    @property
    def by_guest(self) -> bool:
        return self.direction == FROM_GUEST

    def item(self, name: str, text: str) -> Item:
        """With everything that the ring says of the packet."""
        length = f"{len(self.payload)} bytes"
        return Item(name, f"{self.direction} {name} type {self.type} flags {self.flags} {length} {text}")


def both_ways(said: Iterable[Said], item: Callable[[Said], Item]) -> dict[str, list[Item]]:
    """Each direction for itself."""
    found: dict[str, list[Item]] = {"packets to the host": [], "packets to the guest": []}
    for each in said:
        found[f"packets to the {'host' if each.by_guest else 'guest'}"].append(item(each))
    return found


def shown(structure: Structure, **instead: str) -> str:
    """All fields of a structure; ``instead`` of what a guest may choose, what it is."""
    fields = ((field.name, getattr(structure, field.name)) for field in dataclasses.fields(structure))  # type: ignore[arg-type]
    return " ".join(f"{name}={instead.get(name, _plain(value))}" for name, value in fields)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value:#x}"


def first_of_each(items: Iterable[tuple[object, Item]]) -> list[Item]:
    """Of what is repeated again and again, the first."""
    found: dict[object, Item] = {}
    for key, item in items:
        found.setdefault(key, item)
    return list(found.values())
