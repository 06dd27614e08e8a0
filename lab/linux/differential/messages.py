"""The guest's side of the SynIC and every control message, from the host's journal.

Each channel is a sequence of its own, both directions together: within it every message answers or follows another.
What belongs to no channel, and the offers of devices, are one more; the offer of a sub-channel is the first message of
its own. The bodies of a GPADL are one item. How these sequences interleave is one line for itself, for the kernel
probes devices at the same time.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lab.linux.differential.channels import Channels
from lab.linux.differential.streams import Item, Streams, lines
from lab.trace import MESSAGES, MessageDecoder
from protocol.ids import PAGE_SIZE, GpadlId, Relid
from protocol.journal import Record
from protocol.wire.messages import ControlMessage, GpadlBody, GpadlHeader, OfferChannel, OpenChannel
from protocol.wire.synic import Register

CONNECTION = "messages of the connection"
PAGES = (Register.SIMP, Register.SIEFP)


def synic(records: Iterable[Record]) -> Streams:
    """The registers that each VP writes, and in which order the VPs begin."""
    by_vp: dict[int, list[str]] = defaultdict(list)
    for record in records:
        if record.event == "register":
            vp, register, value, status = record.fields
            by_vp[vp].append(_register(Register(register), value, status))
    return {
        "order of the VPs": [_order(f"VP {vp}" for vp in by_vp)],
        **{f"SynIC of VP {vp}": lines(by_vp[vp]) for vp in sorted(by_vp)},
    }


def _register(register: Register, value: int, status: int) -> str:
    shown = f"{value:#x}"
    if register in PAGES:
        shown = f"{'a page' if value >= PAGE_SIZE else 'no page'}, {value % PAGE_SIZE:#x}"
    return f"{register.name} := {shown}" + (f" (status {status:#x})" if status else "")


def messages(records: Iterable[Record]) -> Streams:
    """Every control message with its fields."""
    reader = _Reader()
    for record in records:
        if record.event in MESSAGES:
            _, status, payload = record.fields
            reader.read(MESSAGES[record.event], payload, status if record.event == "post" else 0)
    relids = sorted(relid for relid in reader.by_relid if relid is not None)
    named = sorted((reader.channels.place(relid), relid) for relid in relids)
    return {
        CONNECTION: reader.by_relid[None],
        "order in which channels are opened": [_order(map(reader.channels.name, reader.opened))],
        **{f"{reader.channels.name(relid)}: messages": reader.by_relid[relid] for _, relid in named},
    }


def _order(names: Iterable[str]) -> Item:
    text = ", ".join(names)
    return Item(text, text)


class _Reader:
    """Follows the dialect, who is who, and which GPADL is whose."""

    def __init__(self) -> None:
        self.channels = Channels()
        self.by_relid: dict[Relid | None, list[Item]] = defaultdict(list)
        self.opened: list[Relid] = []
        self._decoder = MessageDecoder()
        self._gpadls: dict[GpadlId, tuple[Relid, int]] = {}

    def read(self, arrow: str, payload: bytes, status: int) -> None:
        message = self._decoder.decode(payload)
        relid: Relid | None = getattr(message, "relid", None)
        if isinstance(message, OfferChannel):
            self.channels.add(message)
            relid = message.relid if message.sub_channel_index else None
        elif isinstance(message, GpadlHeader):
            earlier = sum(owner == message.relid for owner, _ in self._gpadls.values())
            self._gpadls[message.gpadl] = message.relid, earlier + 1
        elif isinstance(message, OpenChannel):
            self.opened.append(message.relid)
        if relid is None and (gpadl := getattr(message, "gpadl", None)) in self._gpadls:
            relid = self._gpadls[gpadl][0]
        refused = f" (status {status:#x})" if status else ""
        items, item = self.by_relid[relid], Item(type(message).__name__, f"{arrow} {self._text(message)}{refused}")
        if isinstance(message, GpadlBody) and items[-1].name == item.name:
            items[-1] = Item(item.name, f"{items[-1].text}, {item.text}")
        else:
            items.append(item)

    def _text(self, message: ControlMessage) -> str:
        fields = ((field.name, getattr(message, field.name)) for field in dataclasses.fields(message))  # type: ignore[arg-type]
        known = (f"{name}={self._value(message, name, value)}" for name, value in fields if value is not None)
        return " ".join((type(message).__name__, *known))

    def _value(self, message: ControlMessage, name: str, value: Any) -> str:
        match name:
            case "gpadl" | "ring_gpadl":
                return f"#{self._gpadls[value][1]}" if value in self._gpadls else f"{value:#x}"
            case "words" if isinstance(message, GpadlHeader):
                return f"({value[0]:#x}, {len(value) - 1} pages)"
            case "words" if isinstance(message, GpadlBody):
                return f"({len(value)} pages)"
            case "interrupt_page" | "parent_to_child_monitor" | "child_to_parent_monitor":
                return "a page" if value and value % PAGE_SIZE == 0 else f"{value:#x}"
        return value.hex().rstrip("0") or "0" if isinstance(value, bytes) else str(value)
