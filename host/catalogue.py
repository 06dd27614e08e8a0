"""The kinds of devices that a VM can have, by the name that a VM file gives them."""

from collections.abc import Mapping
from typing import Any, Final

from host.vsp.ic.kinds import HEARTBEAT, SHUTDOWN, TIMESYNC
from host.vsp.kind import Kind
from host.vsp.storage.kind import STORVSC
from host.vsp.unsupported import UNSUPPORTED

KINDS: Final[Mapping[str, Kind[Any, Any]]] = {
    "heartbeat": HEARTBEAT,
    "shutdown": SHUTDOWN,
    "timesync": TIMESYNC,
    "storvsc": STORVSC,
    "unsupported": UNSUPPORTED,
}
