"""What the primary and the sub-channels of storvsp have in common as devices."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from host.vsp.device import Offer, Services, VspChannel
from host.vsp.storage.connection import Connection
from host.vsp.storage.controller import ScsiController
from protocol.ring import Packet
from protocol.wire.vstor import VstorPacket


class StorChannel(ABC):
    """A ``Device``: a new Connection for each time that the guest opens the channel."""

    def __init__(self, services: Services, controller: ScsiController, offer: Offer) -> None:
        self.offer = offer
        self._services = services
        self._controller = controller
        self._connection: Connection | None = None
        self._opens = 0

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Begin anew; storvsc leaves ``user_data`` zero."""
        self._opens += 1
        self._connection = Connection(channel, self._controller, self._services, self.operate, self.takes_requests)
        self._connection.look()

    def close(self, done: Callable[[], None]) -> None:
        """Wait for the disks; requests in flight keep guest pages until then."""
        if self._connection:
            self._connection.close(done)
        else:
            done()

    def when_idle(self, done: Callable[[], None]) -> None:
        """Call ``done`` once no disk works on a request of this channel."""
        if self._connection:
            self._connection.when_idle(done)
        else:
            done()

    def doorbell(self) -> None:
        """Look at both rings."""
        if self._connection:
            self._connection.look()

    def counts(self) -> dict[str, int]:
        return {"opens": self._opens}

    @abstractmethod
    def takes_requests(self) -> bool:
        """False: whatever the guest writes stays in the ring for now."""

    @abstractmethod
    def operate(self, connection: Connection, packet: Packet, vstor: VstorPacket) -> None:
        """Carry out one well-formed operation. Raises PeerError once it is refused."""
