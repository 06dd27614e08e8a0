"""What a device back end (VSP, virtualization service provider) is to the VMBus server, and what it is given.

A device offers one channel. A device with sub-channels offers each of them as a device of its own, with the GUID
pair of its primary and a ``sub_channel_index`` above zero (``vmbus_channel_offer_channel`` in ``hyperv.h``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from protocol.errors import OperatorError, PeerError
from protocol.ids import GpadlId, Relid
from protocol.journal import Journal
from protocol.ram import Ram
from protocol.ring import RingReader, RingWriter
from protocol.wire.gpadl import GpaRange


class DeviceFailed(OperatorError):
    """A device raised something other than PeerError, or broke its contract: a mistake of its author."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a device says of itself in OFFERCHANNEL; relid and connection id are the server's to choose.

    ``flags`` are ``ChannelFlags``. ``user_defined`` may be shorter than the 120 bytes on the wire; the rest is zero.
    """

    class_id: UUID
    instance_id: UUID
    flags: int = 0
    user_defined: bytes = b""
    mmio_megabytes: int = 0
    sub_channel_index: int = 0


class Timer(Protocol):
    """A call that has been asked for and has not happened."""

    def cancel(self) -> None:
        """Make sure that it does not happen; harmless afterwards."""


class Services(Protocol):
    """What the process around a device provides."""

    @property
    def journal(self) -> Journal | None:
        """Where the packets of its channels are written down, if anybody wants them."""

    def now(self) -> int:
        """The partition's reference time: 100 ns units since the VM started (TLFS, partition reference counter)."""

    def wall_clock(self) -> int:
        """UTC in 100 ns units since 1601-01-01."""

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        """Call ``fn`` once, ``seconds`` from now, in the context that also delivers doorbells.

        A PeerError or OperatorError that it raises is complained about: nobody waits for what a device does unasked.
        """

    def complain(self, error: PeerError | OperatorError) -> None:
        """Log what the guest or the operator did wrong; the device carries on."""


class VspChannel(Protocol):
    """An open channel as its device sees it."""

    @property
    def relid(self) -> Relid:
        """``child_relid`` of the offer."""

    @property
    def outgoing(self) -> RingWriter:
        """Host to guest: the downstream ring of the channel's GPADL."""

    @property
    def incoming(self) -> RingReader:
        """Guest to host: the upstream ring."""

    @property
    def ram(self) -> Ram:
        """Guest memory, for the ranges of GPA-direct packets."""

    def signal(self) -> None:
        """Set the channel's event flag in the SINT2 area of its target VP."""

    def map_gpadl(self, id: GpadlId) -> tuple[GpaRange, ...]:
        """Use the pages of another GPADL of this channel until ``unmap_gpadl``, or close. Raises PeerError."""

    def unmap_gpadl(self, id: GpadlId) -> None:
        """They are no longer used; harmless if they were not."""


class Device(Protocol):
    """A device back end, driven by the VMBus server. Every call is made from one thread."""

    @property
    def offer(self) -> Offer:
        """The same value for as long as the device exists."""

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """OPENCHANNEL arrived and its rings are mapped.

        The device may write before the guest has seen the result, as a real host may. ``user_data`` are the
        120 bytes of OPENCHANNEL that belong to the driver.
        """

    def close(self, done: Callable[[], None]) -> None:
        """CLOSECHANNEL, or the guest is gone: call ``done``, at once or later, when guest memory is no longer touched.

        GPADL_TORNDOWN is the host's promise of that, so the server withholds it until then.
        """

    def doorbell(self) -> None:
        """The guest signalled: look at both rings again. Never means "one packet"."""

    def counts(self) -> dict[str, int]:
        """What a report says of it: what it has sent, answered, moved, by name."""


class SubChannels(Protocol):
    """How a device gets sub-channels of its primary offered. It withdraws them when the primary is closed."""

    def offer(self, devices: Sequence[Device]) -> None:
        """The guest has asked for these; the host may hold them back to keep an order of its own."""

    def withdraw(self) -> None:
        """Rescind those that are offered, and forget those held back."""
