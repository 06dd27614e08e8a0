"""What a device from outside the tree may import. Everything else may move.

A device is a class derived from ``PacketDevice``, in a file that ``./launch.sh run --device FILE`` loads. The VM gets
an offer of it, with a free relid and an instance GUID made of its name. ``self.setting`` is what it was made with
(``Setting``), ``self.services`` gives it time, timers and a place to complain (``Services``). Byte layouts of the real
devices are in ``protocol.wire``.

To use guest memory, override ``open``, keep its ``VspChannel``, call ``super().open``: ``map_gpadl`` says which pages
a driver has lent, and ``ram.views`` gives their bytes.

The core of a device reads no clock and starts no thread: time comes from ``services.now()`` and ``call_later``, so that
the same file runs in a real host process and under the virtual time of the simulation.

An exception that is no ``PeerError`` is a mistake of the device: it is reported with its line, the device's offer is
rescinded, and the VM runs on.
"""

from host.vsp.device import Device, Offer, Services, Timer, VspChannel
from host.vsp.endpoint import Endpoint
from host.vsp.kind import Setting
from host.vsp.packet_device import PacketDevice
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE
from protocol.ram import Ram
from protocol.ring import Packet, PacketType
from protocol.wire.gpadl import GpaRange
from protocol.wire.offers import ChannelFlags

__all__ = [
    "PAGE_SIZE",
    "ChannelFlags",
    "Device",
    "Endpoint",
    "GpaRange",
    "Offer",
    "Packet",
    "PacketDevice",
    "PacketType",
    "PeerError",
    "Ram",
    "Services",
    "Setting",
    "Timer",
    "VspChannel",
]
