"""The VMBus server of a partition: devices in, guest messages in; posts, signals and reports out."""

from dataclasses import dataclass
from typing import Final

from host.hypervisor.interface import Hypervisor
from host.vmbus.channel import Channel, ChannelSnapshot, Key, key_of, offer_message
from host.vmbus.connection import Connection
from host.vmbus.contact import DEFAULT_SINT, ContactPort
from host.vmbus.counts import Counts
from host.vmbus.link import Complain
from host.vmbus.options import HostOptions, Step
from host.vmbus.pace import Later
from host.vmbus.relids import LAST
from host.vmbus.tables.channel import ChannelEvent, ChannelState
from host.vmbus.tables.connection import ConnectionState
from host.vsp.device import Device
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, Relid, Sint, VpIndex
from protocol.ring import Fence, Point
from protocol.wire.messages import encode
from protocol.wire.versions import Dialect, Version

MESSAGE_PORT: Final = ConnectionId(1)
"""``VMBUS_MESSAGE_CONNECTION_ID``: the only one below 5.0."""


@dataclass(frozen=True, slots=True)
class OfferHandle:
    """What the operator holds of an offer.  After ``rescind`` the same device may be offered again at any time."""

    _channel: Channel

    def rescind(self) -> None:
        """Take the device away: a guest that knows the channel gets RESCIND_CHANNELOFFER; the device is closed."""
        self._channel.fire(ChannelEvent.REVOKE)

    @property
    def relid(self) -> Relid | None:
        """The number under which the guest knows the channel, while it does."""
        return self._channel.relid

    @property
    def state(self) -> ChannelState:
        """Where the channel stands in its table."""
        return self._channel.state

    @property
    def target_vp(self) -> VpIndex | None:
        """The VP that the channel interrupts, while it is open for interrupts."""
        return self._channel.target_vp

    def misdirect(self, vp: VpIndex) -> None:
        """Fault: interrupt ``vp`` from now on, whatever the guest was told."""
        self._channel.misdirect(vp)

    def snapshot(self) -> ChannelSnapshot:
        """Everything a report needs."""
        return self._channel.snapshot()


class VmbusServer:
    """One VMBus connection from the host's side, free of threads, clocks and sockets.

    A partition may have several servers, each with a SINT, a message port and a relid space of its own; they share one
    ``contact`` port.  A guest that breaks the protocol is complained about and never disconnected (OpenVMM,
    ``channels.rs``).
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        options: HostOptions,
        complain: Complain,
        sint: Sint = DEFAULT_SINT,
        *,
        fence: Fence,
        vtl: int = 0,
        message_port: ConnectionId = MESSAGE_PORT,
        contact: ContactPort | None = None,
        call_later: Later | None = None,
        point: Point | None = None,
    ) -> None:
        self.sint = sint
        self.vtl = vtl
        self._complain = complain
        self._call_later = call_later
        self._check(options)
        self._connection = Connection(hypervisor, options, complain, sint, vtl, message_port, fence, call_later, point)
        hypervisor.listen_messages(message_port, lambda vp, payload: self.receive(payload))
        if contact is None and options.multi_client_port:
            contact = ContactPort(hypervisor, complain)
        if contact is not None:
            contact.serve(self)

    @property
    def state(self) -> ConnectionState:
        """Where the connection stands in its table."""
        return self._connection.state

    @property
    def version(self) -> Version:
        """What was negotiated last."""
        return self._connection.version

    @property
    def options(self) -> HostOptions:
        """May be replaced at any time; counts from the next message on, except for ``multi_client_port``."""
        return self._connection.options

    @options.setter
    def options(self, options: HostOptions) -> None:
        self._check(options)
        self._connection.options = options

    def receive(self, payload: bytes) -> None:
        """A control message from the guest, whichever port and VP it came from."""
        try:
            self._connection.hear(payload)
        except PeerError as error:
            self._complain(error)

    def offer(self, device: Device, relid: Relid | None = None) -> OfferHandle:
        """Offer ``device``: now, if the guest has asked for offers, else when it does, in the order of these calls.

        ``relid`` pins the number; without it the channel gets the lowest that is free.  A device with the GUID pair
        and index of a rescinded one takes its place as soon as the guest has released that.  OperatorError.
        """
        connection = self._connection
        encode(offer_message(device, LAST, connection.doorbell_of(LAST)), Dialect(Version.WIN8))
        class_id, instance_id, index = key = key_of(device)
        channel = self._find(key)
        if channel is not None:
            if relid not in (None, channel.pin):
                raise OperatorError(f"leave the relid out: the former offer of {class_id} has it")
            channel.reoffer(device)
        else:
            if index and self._find((class_id, instance_id, 0)) is None:
                raise OperatorError(f"offer the primary channel of {class_id} before its sub-channels")
            connection.relids.promise(relid)
            channel = Channel(connection, connection.gpadls, device, relid, connection.forget)
            connection.channels.append(channel)
        if channel.relid is None:
            connection.introduce(channel)
        return OfferHandle(channel)

    def reset(self) -> None:
        """The VM is reset: devices are closed, the guest is not told, and the next contact finds everything new."""
        self._connection.reset()

    def release(self, step: Step | None = None, relid: Relid | None = None) -> int:
        """Let steps that ``HostOptions.delay`` holds back happen now, in order: all, or those that match.

        Returns how many there were.
        """
        return self._connection.release(step, relid)

    def snapshot(self) -> tuple[ChannelSnapshot, ...]:
        """All channels, in the order in which they were offered."""
        return tuple(channel.snapshot() for channel in self._connection.channels)

    def messages(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many messages of each name the guest sent, and how many it was sent."""
        return dict(self._connection.heard), dict(self._connection.said)

    def overtaken(self) -> int:
        """How many MODIFYCHANNELs were never answered, because their channel was closed or rescinded before."""
        return self._connection.overtaken

    def relids(self) -> dict[Relid, Counts]:
        """What was counted under each relid, over all the channels that have had it."""
        return self._connection.relids.counts()

    def _check(self, options: HostOptions) -> None:
        if options.needs_clock and self._call_later is None:
            raise OperatorError("give VmbusServer a call_later: a host option needs a clock")

    def _find(self, key: Key) -> Channel | None:
        return next((channel for channel in self._connection.channels if channel.key == key), None)
