"""What a VMBus server may ask of the hypervisor it runs under."""

from collections.abc import Callable
from typing import Protocol

from protocol.ids import ConnectionId, Sint, VpIndex
from protocol.ram import Ram


class Hypervisor(Protocol):
    """Ports, connections, message queues and event flags of one partition (TLFS, inter-partition communication)."""

    ram: Ram

    @property
    def vps(self) -> frozenset[VpIndex]:
        """The virtual processors of the partition, running or not."""

    def listen_messages(self, connection: ConnectionId, handler: Callable[[VpIndex, bytes], None]) -> None:
        """Open a message port: ``handler(vp, payload)`` is called for each HvPostMessage on ``connection``."""

    def close_messages(self, connection: ConnectionId) -> None:
        """Close a message port; later posts are answered ``INVALID_CONNECTION_ID``."""

    def listen_events(self, connection: ConnectionId, handler: Callable[[], None]) -> None:
        """Open an event port: ``handler()`` is called for each HvSignalEvent on ``connection``."""

    def close_events(self, connection: ConnectionId) -> None:
        """Close an event port."""

    def post(self, vp: VpIndex, sint: Sint, payload: bytes, after: frozenset[VpIndex] = frozenset()) -> None:
        """Queue a control message for ``(vp, sint)``, first in first out.

        The entry, and what is queued behind it, waits until every signal raised so far towards the VPs in ``after``
        has been delivered. The destination itself is never waited for: its socket is first in first out.
        """

    def signal(self, vp: VpIndex, sint: Sint, flag: int) -> bool:
        """Set an event flag. False if the VP's SynIC cannot take it, in which case the signal is lost (TLFS)."""

    def flush_queue(self, vp: VpIndex, sint: Sint) -> None:
        """Forget the messages still queued for ``(vp, sint)``; those already sent to the port stay sent."""
