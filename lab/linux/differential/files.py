"""What both guests say of themselves: devices, which CPU each channel has, and the layout of /proc/interrupts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from lab.linux.differential.streams import Item, Streams, lines
from protocol.ids import Relid

CELL = re.compile(r" {0,9}\d{1,10} ")
"""A number in a row of /proc/interrupts: ``%10u `` (``show_interrupts``)."""
COUNT = "·" * 10 + " "
LABEL = re.compile(r" *\w+:")


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the guest knows it; ``driver`` is empty if none is bound."""

    class_id: UUID
    instance_id: UUID
    driver: str


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """Devices by relid, pairs of relid and CPU, and the text of /proc/interrupts."""

    devices: dict[Relid, Device]
    mapping: list[tuple[int, int]]
    interrupts: str


def devices(found: Mapping[Relid, Device]) -> Streams:
    """Which devices there are, and who drives them."""
    return {"devices of the bus": [_device(relid, device) for relid, device in sorted(found.items())]}


def _device(relid: Relid, device: Device) -> Item:
    driver = device.driver or "no driver"
    return Item(f"{relid} {driver}", f"{relid} class {device.class_id} instance {device.instance_id} {driver}")


def placement(mapping: Iterable[tuple[int, int]]) -> Streams:
    """``mapping`` is what the files ``channel_vp_mapping`` have: relid and CPU."""
    return {"channel_vp_mapping": [Item(f"{relid}:{cpu}", f"{relid}:{cpu}") for relid, cpu in sorted(mapping)]}


def interrupts(text: str) -> Streams:
    """Header and rows as they are, but for the numbers."""
    header, *rows = text.splitlines()
    return {"/proc/interrupts": [Item("header", f"header '{header}'"), *lines(map(_row, rows))]}


def _row(row: str) -> str:
    """The row with a dot for each place of a count."""
    label = LABEL.match(row)
    if label is None:
        return row
    shown, at = [label.group()], label.end()
    if row[at : at + 1] == " ":
        shown.append(" ")
        at += 1
    while (cell := CELL.match(row, at)) is not None and len(cell.group()) == len(COUNT):
        shown.append(COUNT)
        at = cell.end()
    rest = row[at:]
    if len(shown) == 2 and rest.strip().isdigit():  # ERR and MIS: one number, and nothing behind it
        rest = "·" * len(rest)
    return "".join((*shown, rest))
