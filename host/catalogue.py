"""The kinds of devices that a VM can have, by the name that a VM file gives them."""

from collections.abc import Mapping
from typing import Any, Final

from host.vsp.balloon.kind import BALLOON
from host.vsp.ic.kinds import HEARTBEAT, KVP, SHUTDOWN, TIMESYNC, VSS
from host.vsp.input.kinds import KEYBOARD, MOUSE
from host.vsp.kind import Kind
from host.vsp.net.kind import NETVSC
from host.vsp.storage.kind import STORVSC
from host.vsp.unsupported import UNSUPPORTED
from host.vsp.video.kind import FRAMEBUFFER

KINDS: Final[Mapping[str, Kind[Any, Any]]] = {
    "heartbeat": HEARTBEAT,
    "shutdown": SHUTDOWN,
    "timesync": TIMESYNC,
    "kvp": KVP,
    "vss": VSS,
    "balloon": BALLOON,
    "mouse": MOUSE,
    "keyboard": KEYBOARD,
    "framebuffer": FRAMEBUFFER,
    "storvsc": STORVSC,
    "netvsc": NETVSC,
    "unsupported": UNSUPPORTED,
}
