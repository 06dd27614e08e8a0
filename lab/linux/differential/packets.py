"""What the devices and their drivers say to each other, from the host's journal: every device by its own protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from lab.linux.differential.channels import Channels
from lab.linux.differential.protocols import balloon, input, network, services, storage, video
from lab.linux.differential.protocols.said import Said
from lab.linux.differential.streams import Item, Streams
from lab.report.services import SERVICES
from protocol.journal import Record

Reader = Callable[[list[Said]], dict[str, list[Item]]]
"""Everything that was said on the channels of one device, taken apart: what it is, and the items."""

READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(SERVICES, services.read),
    "storvsc": storage.read,
    "netvsc": network.read,
    "framebuffer": video.read,
    "keyboard": input.read_keyboard,
    "mouse": input.read_mouse,
    "balloon": balloon.read,
}
"""By what the kernel calls the kind."""


def packets(records: Iterable[Record], channels: Channels) -> Streams:
    """Places are called after the device; what goes over its sub-channels is part of the same conversation."""
    by_device: dict[str, list[Said]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for record in records:
        if record.event in ("packet", "rndis"):
            relid, *rest = record.fields
            device = channels.device(relid)
            kinds[str(device)] = device.kind
            by_device[str(device)].append(Said.of(record.event, rest))
    return {
        f"{device}: {what}": items
        for device in sorted(by_device)
        for what, items in READERS[kinds[device]](by_device[device]).items()
    }
