"""The state machines of the VMBus server as tables.  They are the specification: code runs and documents draw them."""

from collections.abc import Mapping
from typing import Any

from host.vmbus.tables.channel import CHANNEL
from host.vmbus.tables.connection import CONNECTION
from host.vmbus.tables.gpadl import GPADL
from host.vmbus.tables.retarget import RETARGET
from host.vmbus.tables.shape import Fault, Table, Transition

TABLES: Mapping[str, Table[Any, Any, Any]] = {
    "connection": CONNECTION,
    "channel": CHANNEL,
    "retarget": RETARGET,
    "gpadl": GPADL,
}

__all__ = ["CHANNEL", "CONNECTION", "GPADL", "RETARGET", "TABLES", "Fault", "Table", "Transition"]
