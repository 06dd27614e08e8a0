"""A journal as text: one line an event, control messages decoded into their fields."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from typing import Any

from protocol.errors import PeerError
from protocol.journal import Record, unpack
from protocol.port.envelope import IPI
from protocol.wire.messages import ControlMessage, InitiateContact, VersionResponse, decode
from protocol.wire.synic import Register
from protocol.wire.versions import Dialect, Version

MESSAGES = {"post": "->", "message": "<-"}
"""Events that carry a control message, and which way it goes: guest to host, host to guest."""


def lines(data: bytes, who: str | None, event: str | None, messages_only: bool) -> Iterator[str]:
    """The journal's events as lines, filtered."""
    decoder = MessageDecoder()
    for record in unpack(data):
        text = describe(record, decoder)
        if who not in (None, record.who) or event not in (None, record.event):
            continue
        if messages_only and record.event not in MESSAGES:
            continue
        yield f"{record.time / 10_000_000:12.6f}  {record.who:6} {record.event:9} {text}"


class MessageDecoder:
    """Control messages depend on the version that is negotiated: it is followed along the journal."""

    def __init__(self) -> None:
        self.dialect = Dialect(Version.WIN8)
        self._asked = Version.WIN8

    def decode(self, payload: bytes) -> ControlMessage:
        """The message. Raises PeerError if it is none."""
        message = decode(payload, self.dialect)
        if isinstance(message, InitiateContact):
            self._asked = Version(message.version)
        elif isinstance(message, VersionResponse) and message.supported:
            self.dialect = Dialect(self._asked)
        return message

    def text(self, payload: bytes) -> str:
        """A message's name and fields."""
        try:
            message = self.decode(payload)
        except PeerError as error:
            return f"not a control message: {error}"
        fields = ((field.name, getattr(message, field.name)) for field in dataclasses.fields(message))  # type: ignore[arg-type]
        return f"{type(message).__name__} " + " ".join(f"{name}={_plain(value)}" for name, value in fields)


def describe(record: Record, decoder: MessageDecoder) -> str:
    """The fields of an event, in the terms of the specification."""
    match record.event, record.fields:
        case (("post" | "message"), (vp, detail, payload)):
            arrow = MESSAGES[record.event]
            status = f" (status {detail:#x})" if record.event == "post" and detail else ""
            return f"VP {vp} {arrow} {decoder.text(payload)}{status}"
        case "signals", (vp, signals):
            return f"VP {vp} <- {', '.join(map(_signal, signals))}"
        case "vm", (description,):
            return str(description)
        case "course", (journal,):
            return f"{len(journal)} bytes of the journal that the simulation follows"
        case "write", (path, text):
            return f"{path} := {text!r}"
        case "written", (path, result):
            return f"{path}: {result if result >= 0 else errno.errorcode.get(-result, result)}"
        case "interrupt", (vector,):
            return f"vector {vector:#x}"
        case "doorbell", (vp, status, connection):
            return f"VP {vp} -> connection {connection:#x}" + (f" (status {status:#x})" if status else "")
        case "packet", (relid, direction, kind, flags, payload):
            return f"relid {relid} {direction} type {kind} flags {flags} {_plain(payload)}"
        case "rndis", (relid, direction, message):
            return f"relid {relid} {direction} {_plain(message)}"
        case "register", (vp, register, value, status):
            return f"VP {vp} {Register(register).name} := {value:#x}" + (f" (status {status:#x})" if status else "")
    return " ".join(_plain(value) for value in record.fields)


def _signal(signal: int) -> str:
    return f"vector {signal - IPI:#x}" if signal >= IPI else f"flag {signal & 0xFFFF} of SINT {signal >> 16}"


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        stripped = value.rstrip(b"\0")
        return stripped.hex() or "0"
    if isinstance(value, int) and value > 0xFFFF:
        return hex(value)
    return str(value)
