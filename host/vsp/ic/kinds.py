"""The integration components as kinds of devices."""

from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.kvp import Kvp
from host.vsp.ic.shutdown import Shutdown
from host.vsp.ic.timesync import TimeSync
from host.vsp.ic.vss import Vss
from host.vsp.kind import Answered, Kind, NoOptions
from host.vsp.periodic import Repeated


def _shut_down(device: Shutdown, answered: Answered) -> None:
    """Ask the guest to power off; its answer's status, or None if it closed the channel."""
    device.request_shutdown(answered)


HEARTBEAT = Kind(NoOptions, lambda setting, options: Heartbeat(setting.services, setting.time_scale))
SHUTDOWN = Kind(NoOptions, lambda setting, options: Shutdown(setting.services), {"power_off": _shut_down})
TIMESYNC = Kind(NoOptions, lambda setting, options: TimeSync(setting.services, setting.time_scale))
KVP = Kind(
    Repeated,
    lambda setting, options: Kvp(setting.services, options.every / setting.time_scale),
    {"get": Kvp.get, "set": Kvp.set, "delete": Kvp.delete, "enumerate": Kvp.enumerate},
)
VSS = Kind(
    Repeated,
    lambda setting, options: Vss(setting.services, options.every / setting.time_scale),
    {"backup": Vss.backup},
)
