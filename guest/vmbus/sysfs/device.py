"""A device of the bus: ``vmbus_dev_attrs``, its channels and its driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from guest.fs.node import Directory, File, Link, Node
from guest.vmbus.sysfs.channel import channel_directory
from guest.vmbus.sysfs.ring import RingDebugInfo
from guest.vmbus.sysfs.view import SysfsChannel, VmbusView
from protocol.wire.guids import DEVICE_TYPES

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

DEVICES: Final = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00"
"""Below /sys: where ACPI puts the bus of a Hyper-V VM."""
TO_SYS: Final = "../../../../../.."
"""From a device's directory."""
VENDOR: Final = 0x1414
"""Microsoft's PCI vendor id."""
_RING_FILES: Final[dict[str, Callable[[RingDebugInfo], int]]] = {
    "intr_mask": lambda ring: ring.interrupt_mask,
    "read_bytes_avail": lambda ring: ring.bytes_avail_toread,
    "read_index": lambda ring: ring.read_index,
    "write_bytes_avail": lambda ring: ring.bytes_avail_towrite,
    "write_index": lambda ring: ring.write_index,
}


def device_directory(view: VmbusView, primary: SysfsChannel, bus: Vmbus | None) -> dict[str, Node]:
    """``numa_node`` is there if the guest has more than one node; files of the ring read EINVAL while it is closed."""
    words, offer = primary.words, primary.offer
    modalias = f"vmbus:{offer.class_id.bytes_le.hex()}"
    driver = view.driver_name(primary)
    shows: dict[str, Callable[[], str]] = {
        "channel_vp_mapping": lambda: "".join(f"{c.relid}:{c.words.target_cpu}\n" for c in view.channels_of(primary)),
        "class_id": lambda: f"{{{offer.class_id}}}\n",
        "device": lambda: f"{_device_id(primary):#x}\n",
        "device_id": lambda: f"{{{offer.instance_id}}}\n",
        "id": lambda: f"{primary.relid}\n",
        "modalias": lambda: f"{modalias}\n",
        "state": lambda: f"{words.state}\n",
        "uevent": lambda: (f"DRIVER={driver}\n" if driver else "") + f"MODALIAS={modalias}\n",
        "vendor": lambda: f"{VENDOR:#x}\n",
    }
    if len(view.tables.numa) > 1:
        shows["numa_node"] = lambda: f"{_node_of(view, words.target_cpu)}\n"
    for name, show in _RING_FILES.items():
        shows[f"in_{name}"] = partial(_ring_line, show, primary, inbound=True)
        shows[f"out_{name}"] = partial(_ring_line, show, primary, inbound=False)
    nodes: dict[str, Node] = {name: File(0o444, show) for name, show in shows.items()}
    nodes["channels"] = Directory(
        lambda: {str(channel.relid): channel_directory(channel, bus) for channel in view.channels_of(primary)}
    )
    nodes["subsystem"] = Link(f"{TO_SYS}/bus/vmbus")
    if driver:
        nodes["driver"] = Link(f"{TO_SYS}/bus/vmbus/drivers/{driver}")
    return dict(sorted(nodes.items()))


def _device_id(primary: SysfsChannel) -> int:
    """``enum vmbus_device_type``; HV_UNKNOWN, also for hv_sock, is the one after the last."""
    return DEVICE_TYPES.index(primary.type) if primary.type in DEVICE_TYPES else len(DEVICE_TYPES)


def _node_of(view: VmbusView, cpu: int) -> int:
    return next(node for node, words in enumerate(view.tables.numa) if words.cpus >> cpu & 1)


def _ring_line(show: Callable[[RingDebugInfo], int], primary: SysfsChannel, *, inbound: bool) -> str:
    return f"{show(primary.inbound if inbound else primary.outbound)}\n"
