"""The connection of one guest to one server: what the table ``connection`` means in deeds."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from host.hypervisor.interface import Hypervisor
from host.vmbus.channel import Channel
from host.vmbus.dispatch import Unsupported, dispatch
from host.vmbus.gpadls import Gpadls
from host.vmbus.link import Complain
from host.vmbus.machine import Machine
from host.vmbus.options import HostOptions, Step
from host.vmbus.pace import Held, Later, Pace
from host.vmbus.relids import Relids
from host.vmbus.tables.channel import ChannelEvent, ChannelState
from host.vmbus.tables.connection import CONNECTION, ConnectionAction, ConnectionEvent, ConnectionState
from protocol.ids import ConnectionId, Relid, Sint, VpIndex
from protocol.ring import Fence, Point
from protocol.wire.messages import (
    AllOffersDelivered,
    ControlMessage,
    InitiateContact,
    RequestOffers,
    Unload,
    UnloadResponse,
    VersionResponse,
    decode,
    encode,
    may_send,
)
from protocol.wire.messages import ConnectionState as ContactStatus
from protocol.wire.versions import Dialect, Version

_OLDEST: Final = Dialect(Version.WIN8)
"""Older guests need the interrupt page.  Also what a message is read in before a version is agreed on."""
_SUPPORTED: Final = frozenset(version for version in Version if version >= _OLDEST.version)

_LETTING_GO: Final = frozenset({ConnectionState.UNLOADING, ConnectionState.RECONNECTING, ConnectionState.RESETTING})
_KINDS: Final = {
    RequestOffers: ConnectionEvent.REQUESTOFFERS,
    Unload: ConnectionEvent.UNLOAD,
}


class Connection:
    """A ``Link`` to its channels, which are in the order in which they were offered.

    ``heard`` and ``said`` count the messages from and to the guest by name.
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        options: HostOptions,
        complain: Complain,
        sint: Sint,
        vtl: int,
        message_port: ConnectionId,
        fence: Fence,
        call_later: Later | None,
        point: Point | None,
    ) -> None:
        self.hypervisor = hypervisor
        self.options = options
        self.complain = complain
        self.sint = sint
        self.vtl = vtl
        self.fence = fence
        self.point = point
        self.relids = Relids()
        self.heard: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.overtaken = 0
        self.gpadls = Gpadls(self, lambda relid: self.relids.find(relid).revoked)
        self.channels: list[Channel] = []
        self._message_port = message_port
        self._message_vp = VpIndex(0)
        self._dialect = _OLDEST
        self._pace = Pace(call_later)
        self._departed: set[VpIndex] = set()
        self._releasing = False
        self._message: ControlMessage = Unload()
        self._contact = InitiateContact(0, VpIndex(0))
        self._remembered = self._contact
        self._newcomer: Channel | None = None
        self._machine = Machine(
            CONNECTION,
            ConnectionState.DISCONNECTED,
            {
                ConnectionAction.ACCEPT: self._accept,
                ConnectionAction.REFUSE: lambda: self.post(VersionResponse(supported=0)),
                ConnectionAction.FAIL: self._fail,
                ConnectionAction.REMEMBER_CONTACT: self._remember_contact,
                ConnectionAction.CONTACT_AGAIN: lambda: self._hear_contact(self._remembered),
                ConnectionAction.FORGET_QUEUE: lambda: hypervisor.flush_queue(self._message_vp, sint),
                ConnectionAction.RELEASE_ALL: self._release_all,
                ConnectionAction.SEND_OFFERS: self._send_offers,
                ConnectionAction.SEND_OFFER: self._send_offer,
                ConnectionAction.HANDLE: self._handle,
                ConnectionAction.SEND_UNLOAD_RESPONSE: self._send_unload_response,
                ConnectionAction.START_OVER: self._start_over,
            },
        )

    @property
    def state(self) -> ConnectionState:
        """Where it stands in the table."""
        return self._machine.state

    @property
    def version(self) -> Version:
        """What was negotiated last."""
        return self._dialect.version

    def hear(self, payload: bytes) -> None:
        """A control message from the guest.  PeerError."""
        message = decode(payload, self._dialect)
        self.heard[message.name] += 1
        if isinstance(message, InitiateContact):
            self._hear_contact(message)
            return
        if not message.to_host:
            raise Unsupported(f"{message.name} is for guests")
        self._message = message
        self._machine.fire(_KINDS.get(type(message), ConnectionEvent.CHANNEL_MESSAGE))

    def introduce(self, channel: Channel) -> None:
        """The operator offers a channel that the guest does not know."""
        self._newcomer = channel
        self._machine.fire(ConnectionEvent.OFFER)

    def forget(self, channel: Channel) -> None:
        """The channel is gone for good, though signals of it may still be under way."""
        self.channels.remove(channel)
        self.relids.withdraw(channel.pin)
        self._departed |= channel.unfenced

    def reset(self) -> None:
        """The VM is reset: let go of everything and tell nobody."""
        self._machine.fire(ConnectionEvent.RESET)

    def release(self, step: Step | None, relid: Relid | None) -> int:
        """Let held steps happen."""
        return self._pace.release(step, relid)

    # What channels and GPADLs ask of it (Link).

    def doorbell_of(self, relid: Relid) -> ConnectionId:
        """OpenVMM's numbers.  The guest takes what the offer says."""
        return ConnectionId(relid | self.sint << 12 | self.vtl << 16)

    def post(self, message: ControlMessage, after: frozenset[VpIndex] = frozenset()) -> None:
        """Send a control message to the VP that INITIATE_CONTACT named."""
        self.said[message.name] += 1
        self.hypervisor.post(self._message_vp, self.sint, encode(message, self._dialect), after)

    def pace(self, step: Step, relid: Relid, resume: Callable[[], None]) -> None:
        """At once, unless the options make this host slow."""
        self._pace.put_off(self.options.delay.get(step, 0), Held(step, relid, resume))

    def call_later(self, seconds: float, fn: Callable[[], None]) -> None:
        """By the clock of the process around."""
        self._pace.call_later(seconds, fn)

    def settled(self) -> None:
        """Go on with an unload, reconnect or reset once nothing is in use."""
        if self.state in _LETTING_GO and not self._releasing and not self._in_use():
            self._machine.fire(ConnectionEvent.UNUSED)

    def _in_use(self) -> bool:
        return self.gpadls.in_use or any(channel.state is not ChannelState.CLIENT_RELEASED for channel in self.channels)

    # Actions of the table.

    def _hear_contact(self, contact: InitiateContact) -> None:
        self._contact = contact
        self._machine.fire(self._judge(contact))

    def _judge(self, contact: InitiateContact) -> ConnectionEvent:
        if contact.version not in _SUPPORTED or contact.version > self.options.max_version:
            return ConnectionEvent.CONTACT_UNSUPPORTED
        one_monitor_page = (contact.parent_to_child_monitor == 0) != (contact.child_to_parent_monitor == 0)
        if one_monitor_page or self._target_of(contact) not in self.hypervisor.vps:
            return ConnectionEvent.CONTACT_FAILED
        return ConnectionEvent.CONTACT

    @staticmethod
    def _target_of(contact: InitiateContact) -> VpIndex:
        """Control messages went to VP 0 before Windows 8.1, whatever the guest asked for."""
        return contact.target_vp if contact.version >= Version.WIN8_1 else VpIndex(0)

    def _accept(self) -> None:
        self._dialect = Dialect(Version(self._contact.version))
        self._message_vp = self._target_of(self._contact)
        self._departed.clear()
        for channel in self.channels:
            channel.unfenced.clear()
        self.post(self._response(self._dialect, ContactStatus.SUCCESSFUL))

    def _fail(self) -> None:
        dialect = Dialect(Version(self._contact.version))
        response = self._response(dialect, ContactStatus.FAILED_UNKNOWN_FAILURE)
        self.said[response.name] += 1
        self.hypervisor.post(self._message_vp, self.sint, encode(response, dialect))

    def _response(self, dialect: Dialect, status: ContactStatus) -> VersionResponse:
        """From 5.0 the guest posts to the connection it is told here; below it posts to 1 and gets its version back.

        None of 6.0's features is granted.
        """
        version = dialect.version
        return VersionResponse(
            supported=1,
            connection_state=status,
            connection_id=self._message_port if version >= Version.V5_0 else version,
            features=0 if version >= Version.V6_0 else None,
        )

    def _remember_contact(self) -> None:
        self._remembered = self._contact

    def _release_all(self) -> None:
        self._releasing = True  # a channel's last GPADL may go before its relid does
        for channel in tuple(self.channels):
            channel.fire(ChannelEvent.DISCONNECT)
        self._releasing = False
        self.settled()

    def _send_offers(self) -> None:
        for channel in self.channels:
            channel.fire(ChannelEvent.OFFER)
        self.post(AllOffersDelivered())

    def _send_offer(self) -> None:
        assert self._newcomer is not None, "introduced just now"
        self._newcomer.fire(ChannelEvent.OFFER)

    def _handle(self) -> None:
        if not may_send(type(self._message), self._dialect):
            raise Unsupported(f"{self._message.name} does not exist in version {self.version.text} as negotiated")
        dispatch(self._message, self, self.gpadls)

    def _send_unload_response(self) -> None:
        """The guest reuses its memory after this, so every interrupt of the old life has to have come before."""
        concerned = self._departed.union(*(channel.unfenced for channel in self.channels))
        self.post(UnloadResponse(), after=frozenset(concerned))

    def _start_over(self) -> None:
        self._dialect = _OLDEST
        self._message_vp = VpIndex(0)
