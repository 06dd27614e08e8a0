"""Keyboard and mouse: both ways together. Nobody types, and nobody moves the mouse."""

from __future__ import annotations

from collections.abc import Callable

from lab.linux.differential.protocols.said import Said
from lab.linux.differential.streams import Item
from protocol.wire.pipe import HEADER_SIZE
from protocol.wire.synthhid import HidHeader, HidMessage
from protocol.wire.synthkbd import KbdHeader, KbdMessage


def read_keyboard(said: list[Said]) -> dict[str, list[Item]]:
    return _read(said, lambda payload: KbdMessage(KbdHeader.decode(payload).type).name)


def read_mouse(said: list[Said]) -> dict[str, list[Item]]:
    return _read(said, lambda payload: HidMessage(HidHeader.decode(payload, HEADER_SIZE).type).name)


def _read(said: list[Said], name_of: Callable[[bytes], str]) -> dict[str, list[Item]]:
    """A completion has nothing in it."""
    named = ((name_of(each.payload) if each.payload else "COMPLETION", each) for each in said)
    return {"packets": [each.item(name, each.payload.hex()) for name, each in named]}
