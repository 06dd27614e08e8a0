"""The control messages of a boot, from the host's journal."""

from __future__ import annotations

from pathlib import Path

from protocol.journal import unpack
from protocol.wire.messages import Message, decode
from protocol.wire.versions import Dialect, Version


def posted(trace: Path) -> list[Message]:
    """What the guest has said, in order. Messages whose layout depends on the version are decoded as of 5.3."""
    return [
        decode(record.fields[2], Dialect(Version.V5_3))
        for record in unpack(trace.read_bytes())
        if record.event == "post"
    ]
