"""What a channel may ask of the connection that it belongs to."""

from collections.abc import Callable
from typing import Protocol

from host.hypervisor.interface import Hypervisor
from host.vmbus.options import HostOptions, Step
from host.vmbus.relids import Relids
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, Relid, Sint, VpIndex
from protocol.ring.memory import Fence, Point
from protocol.wire.messages import ControlMessage
from protocol.wire.versions import Version

Complain = Callable[[PeerError | OperatorError], None]
"""Hears of everything that the guest or a device's author did wrong; the server carries on."""


class Link(Protocol):
    """One connection between a guest and a server, from inside the server."""

    options: HostOptions
    overtaken: int
    """MODIFYCHANNELs that got no answer, because the channel was closed or rescinded before."""

    @property
    def hypervisor(self) -> Hypervisor:
        """Ports, message queues, event flags and memory of the partition."""

    @property
    def sint(self) -> Sint:
        """The SINT whose messages and flags are this connection's."""

    @property
    def version(self) -> Version:
        """What is negotiated."""

    @property
    def relids(self) -> Relids:
        """The relid space."""

    @property
    def complain(self) -> Complain:
        """Where to report misbehaviour."""

    @property
    def fence(self) -> Fence:
        """A full fence, for the rings."""

    @property
    def point(self) -> Point | None:
        """Told where another CPU may come in between."""

    def doorbell_of(self, relid: Relid) -> ConnectionId:
        """The connection that the guest signals for this relid."""

    def post(self, message: ControlMessage, after: frozenset[VpIndex] = frozenset()) -> None:
        """Send a control message, behind every signal that was raised towards ``after``."""

    def pace(self, step: Step, relid: Relid, resume: Callable[[], None]) -> None:
        """Call ``resume``: at once, or when a slow host gets round to it."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> None:
        """Call ``fn`` after ``seconds``."""

    def settled(self) -> None:
        """A channel or a GPADL has let go of something: whoever waits for all of them may look."""
