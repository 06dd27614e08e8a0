"""Every cell of every table, with the real machine in the real state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from host.vmbus.channel import Channel
from host.vmbus.connection import Connection
from host.vmbus.gpadls import Gpadl
from host.vmbus.options import HostOptions
from host.vmbus.retarget import Retarget
from host.vmbus.tables import CHANNEL, CONNECTION, GPADL, RETARGET, Fault
from host.vmbus.tables.channel import ChannelEvent, ChannelState
from host.vmbus.tables.connection import ConnectionEvent, ConnectionState
from host.vmbus.tables.gpadl import GpadlEvent, GpadlState
from host.vmbus.tables.retarget import RetargetEvent, RetargetState
from protocol.errors import OperatorError
from protocol.ids import GpadlId, Pfn, Relid, VpIndex
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.messages import (
    CloseChannel,
    GpadlBody,
    GpadlHeader,
    GpadlTeardown,
    ModifyChannel,
    OpenChannel,
    RelidReleased,
    RequestOffers,
    Unload,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import ALL_HELD, RING, FakeDevice, Vm, channel_of

BAD_RING, GOOD_RING = GpadlId(1), GpadlId(2)
CLOSE, RELEASE = CloseChannel(Relid(1)), RelidReleased(Relid(1))


class Stage:
    """A slow host with one slow device; ``channel`` is its only channel, and both ring GPADLs are ready."""

    def __init__(self, options: HostOptions = ALL_HELD) -> None:
        self.vm = Vm(options)
        self.device = FakeDevice(slow=True)
        self.handle = self.vm.server.offer(self.device)
        self.channel: Channel = channel_of(self.handle)
        self.connection: Connection = self.vm.server._connection

    def connect(self, version: Version = Version.V5_3) -> None:
        self.vm.connect(version)
        self.vm.describe(1, *RING, gpadl=GOOD_RING)
        self.vm.describe(1, *RING[:2], gpadl=BAD_RING)
        self.vm.server.release()

    def request_open(self, ring: GpadlId = GOOD_RING, vp: int = 1) -> None:
        self.vm.send(OpenChannel(Relid(1), 77, ring, VpIndex(vp), 4, b""))

    def open(self) -> None:
        self.request_open()
        self.vm.server.release()

    def send(self, *messages: CloseChannel | RelidReleased) -> None:
        for message in messages:
            self.vm.send(message)

    def reoffer(self) -> None:
        self.vm.server.offer(FakeDevice())


def channel_in(state: ChannelState, ring: GpadlId) -> Stage:
    stage = Stage()
    S = ChannelState
    if state is S.CLIENT_RELEASED:
        return stage
    if state is S.GONE:
        stage.handle.rescind()
        return stage
    stage.connect()
    match state:
        case S.OPENING | S.OPENING_CLIENT_RELEASE:
            stage.request_open(ring)
        case S.CLOSED | S.REVOKED | S.REOFFERED:
            pass
        case _:
            stage.open()
    if state in (S.CLOSING, S.CLOSING_REOPEN, S.CLOSING_CLIENT_RELEASE):
        stage.send(CLOSE)
    if state in (S.REVOKED, S.REVOKED_CLOSING, S.REOFFERED, S.REOFFERED_CLOSING, S.DEPARTING):
        stage.handle.rescind()
    match state:
        case S.CLOSING_REOPEN:
            stage.request_open()
        case S.REOFFERED | S.REOFFERED_CLOSING:
            stage.reoffer()
        case S.CLOSING_CLIENT_RELEASE:
            stage.send(RELEASE)
        case S.OPENING_CLIENT_RELEASE | S.DEPARTING:
            stage.vm.contact()
    return stage


CHANNEL_VERBS: dict[ChannelEvent, Callable[[Stage], object]] = {
    ChannelEvent.OFFER: lambda stage: (
        stage.vm.connect()
        if stage.channel.state is ChannelState.CLIENT_RELEASED
        else stage.connection.introduce(stage.channel)
    ),
    ChannelEvent.OPENCHANNEL: lambda stage: stage.request_open(),
    ChannelEvent.CLOSECHANNEL: lambda stage: stage.send(CLOSE),
    ChannelEvent.RELID_RELEASED: lambda stage: stage.send(RELEASE),
    ChannelEvent.DISCONNECT: lambda stage: (
        stage.vm.send(Unload())
        if stage.connection.state is ConnectionState.CONNECTED
        else stage.channel.fire(ChannelEvent.DISCONNECT)
    ),
    ChannelEvent.DEVICE_OPENED: lambda stage: stage.vm.server.release(),
    ChannelEvent.DEVICE_REFUSED: lambda stage: stage.vm.server.release(),
    ChannelEvent.DEVICE_CLOSED: lambda stage: stage.device.finish(),
    ChannelEvent.REVOKE: lambda stage: stage.handle.rescind(),
    ChannelEvent.REOFFER: lambda stage: stage.channel.reoffer(FakeDevice()),
}


@pytest.mark.parametrize(("state", "event"), CHANNEL, ids=lambda value: value.name)
def test_channel(state: ChannelState, event: ChannelEvent) -> None:
    stage = channel_in(state, BAD_RING if event is ChannelEvent.DEVICE_REFUSED else GOOD_RING)
    assert stage.channel.state is state
    stage.vm.complained()
    cell = CHANNEL[state, event]
    match cell.fault:
        case Fault.BUG:
            with pytest.raises(AssertionError, match=event.name):
                stage.channel.fire(event)
        case Fault.OPERATOR:
            with pytest.raises(OperatorError):
                CHANNEL_VERBS[event](stage)
        case fault:
            CHANNEL_VERBS[event](stage)
            refused_open = event is ChannelEvent.DEVICE_REFUSED
            assert bool(stage.vm.complained()) == (fault is Fault.GUEST) or refused_open
    assert stage.channel.state is cell.next


def connection_in(state: ConnectionState) -> Stage:
    stage = Stage()
    S = ConnectionState
    if state is S.DISCONNECTED:
        return stage
    if state is S.NEGOTIATED:
        stage.vm.contact()
        return stage
    stage.connect()
    stage.open()
    match state:
        case S.UNLOADING:
            stage.vm.send(Unload())
        case S.RECONNECTING:
            stage.vm.contact()
        case S.RESETTING:
            stage.vm.server.reset()
    return stage


def unused(stage: Stage) -> None:
    if stage.device.done:
        stage.device.finish()
    else:
        stage.connection._machine.fire(ConnectionEvent.UNUSED)


CONNECTION_VERBS: dict[ConnectionEvent, Callable[[Stage], object]] = {
    ConnectionEvent.CONTACT: lambda stage: stage.vm.contact(Version.V5_2),
    ConnectionEvent.CONTACT_UNSUPPORTED: lambda stage: stage.vm.contact(0x00070000),
    ConnectionEvent.CONTACT_FAILED: lambda stage: stage.vm.contact(vp=99),
    ConnectionEvent.REQUESTOFFERS: lambda stage: stage.vm.send(RequestOffers()),
    ConnectionEvent.UNLOAD: lambda stage: stage.vm.send(Unload()),
    ConnectionEvent.CHANNEL_MESSAGE: lambda stage: stage.vm.describe(1, 1, 2),
    ConnectionEvent.OFFER: lambda stage: stage.vm.server.offer(FakeDevice(instance=9)),
    ConnectionEvent.RESET: lambda stage: stage.vm.server.reset(),
    ConnectionEvent.UNUSED: unused,
}


@pytest.mark.parametrize(("state", "event"), CONNECTION, ids=lambda value: value.name)
def test_connection(state: ConnectionState, event: ConnectionEvent) -> None:
    stage = connection_in(state)
    assert stage.connection.state is state
    stage.vm.complained()
    cell = CONNECTION[state, event]
    CONNECTION_VERBS[event](stage)
    expected = cell.next
    if state in (ConnectionState.NEGOTIATED, ConnectionState.DISCONNECTED):
        # Nothing is in use, so that an UNUSED follows at once, and with it the remembered contact.
        expected = {
            ConnectionState.RECONNECTING: (
                ConnectionState.NEGOTIATED if event is ConnectionEvent.CONTACT else ConnectionState.DISCONNECTED
            ),
            ConnectionState.UNLOADING: ConnectionState.DISCONNECTED,
            ConnectionState.RESETTING: ConnectionState.DISCONNECTED,
        }.get(expected, expected)
    if (state, event) == (ConnectionState.RECONNECTING, ConnectionEvent.UNUSED):
        expected = ConnectionState.NEGOTIATED
    assert stage.connection.state is expected
    unknown_channel = (state, event) == (ConnectionState.NEGOTIATED, ConnectionEvent.CHANNEL_MESSAGE)
    assert bool(stage.vm.complained()) == (cell.fault is Fault.GUEST or unknown_channel)


ID = GpadlId(3)


def pieces(good: bool = True) -> list[GpadlHeader | GpadlBody]:
    header, *bodies = split(Relid(1), ID, [GpaRange.whole_pages([Pfn(1)] * 30)])
    assert isinstance(header, GpadlHeader)
    return [header if good else replace(header, range_count=2), *bodies]


def gpadl_in(state: GpadlState, event: GpadlEvent) -> tuple[Stage, Gpadl]:
    stage = Stage()
    stage.connect()
    header, *bodies = pieces(good=event is not GpadlEvent.MALFORMED)
    if event is GpadlEvent.UNMAPPABLE:
        bodies = [GpadlBody(0, ID, (1 << 40,) * 4)]
    stage.vm.send(header)
    gpadl = stage.connection.gpadls.find(Relid(1), ID)
    S = GpadlState
    if state is S.IN_PROGRESS:
        if event is GpadlEvent.COMPLETE_REVOKED:
            stage.handle.rescind()
        return stage, gpadl
    for body in bodies:
        stage.vm.send(body)
    match state:
        case S.OFFERED_RELEASED:
            stage.send(RELEASE)
        case S.ACCEPTED | S.TEARING_DOWN | S.RELEASED | S.GONE:
            stage.vm.server.release()
            stage.request_open(ID)
    match state:
        case S.TEARING_DOWN:
            stage.vm.send(GpadlTeardown(Relid(1), ID))
        case S.RELEASED:
            stage.vm.send(Unload())
        case S.GONE:
            stage.vm.send(GpadlTeardown(Relid(1), ID))
            gpadl.unmap()
    return stage, gpadl


def finish_gpadl(stage: Stage, gpadl: Gpadl) -> None:
    for body in pieces()[1:]:
        stage.vm.send(body)


GPADL_VERBS: dict[GpadlEvent, Callable[[Stage, Gpadl], object]] = {
    GpadlEvent.COMPLETE: finish_gpadl,
    GpadlEvent.COMPLETE_REVOKED: finish_gpadl,
    GpadlEvent.MALFORMED: finish_gpadl,
    GpadlEvent.MAPPABLE: lambda stage, gpadl: stage.vm.server.release(),
    GpadlEvent.UNMAPPABLE: lambda stage, gpadl: stage.vm.server.release(),
    GpadlEvent.TEARDOWN: lambda stage, gpadl: stage.vm.send(GpadlTeardown(Relid(1), ID)),
    GpadlEvent.UNMAPPED: lambda stage, gpadl: gpadl.unmap(),
    GpadlEvent.RELEASE: lambda stage, gpadl: gpadl.fire(GpadlEvent.RELEASE),
    GpadlEvent.REVOKE: lambda stage, gpadl: gpadl.fire(GpadlEvent.REVOKE),
}


@pytest.mark.parametrize(("state", "event"), GPADL, ids=lambda value: value.name)
def test_gpadl(state: GpadlState, event: GpadlEvent) -> None:
    stage, gpadl = gpadl_in(state, event if GPADL[state, event].fault is not Fault.BUG else GpadlEvent.MAPPABLE)
    assert gpadl.state is state
    stage.vm.complained()
    cell = GPADL[state, event]
    if cell.fault is Fault.BUG:
        with pytest.raises(AssertionError, match=event.name):
            gpadl.fire(event)
    elif event is GpadlEvent.UNMAPPED and state not in (GpadlState.TEARING_DOWN, GpadlState.RELEASED):
        gpadl.fire(event)
    else:
        GPADL_VERBS[event](stage, gpadl)
        assert bool(stage.vm.complained()) == (cell.fault is Fault.GUEST or event is GpadlEvent.MALFORMED)
    after_that = {(GpadlState.OFFERED_RELEASED, GpadlEvent.MAPPABLE): GpadlState.GONE}
    assert gpadl.state is after_that.get((state, event), cell.next)


def retarget_in(state: RetargetState, event: RetargetEvent) -> tuple[Stage, Retarget]:
    stage = Stage(replace(ALL_HELD, queue_overlapping_modify=event is RetargetEvent.MODIFY_QUEUED))
    stage.connect(Version.V5_2 if event is RetargetEvent.MODIFY_UNANSWERED else Version.V5_3)
    match state:
        case RetargetState.FIXED:
            stage.request_open()
        case _:
            stage.open()
    if state is RetargetState.MOVING:
        modify(stage)
    return stage, stage.channel.retarget


def modify(stage: Stage, _: Retarget | None = None) -> None:
    stage.vm.send(ModifyChannel(Relid(1), VpIndex(2)))


RETARGET_VERBS: dict[RetargetEvent, Callable[[Stage, Retarget], object]] = {
    RetargetEvent.MODIFY: modify,
    RetargetEvent.MODIFY_UNANSWERED: modify,
    RetargetEvent.MODIFY_QUEUED: modify,
    RetargetEvent.MOVED: lambda stage, retarget: stage.vm.server.release(),
    RetargetEvent.TURNED_DOWN: lambda stage, retarget: retarget._machine.fire(RetargetEvent.TURNED_DOWN),
    RetargetEvent.DROPPED: lambda stage, retarget: retarget._machine.fire(RetargetEvent.DROPPED),
    RetargetEvent.OPENED: lambda stage, retarget: stage.vm.server.release(),
    RetargetEvent.CLOSED: lambda stage, retarget: retarget.close(),
}


@pytest.mark.parametrize(("state", "event"), RETARGET, ids=lambda value: value.name)
def test_retarget(state: RetargetState, event: RetargetEvent) -> None:
    stage, retarget = retarget_in(state, event)
    assert retarget.state is state
    cell = RETARGET[state, event]
    if cell.fault is Fault.BUG:
        with pytest.raises(AssertionError, match=event.name):
            retarget._machine.fire(event)
    else:
        RETARGET_VERBS[event](stage, retarget)
        assert bool(stage.vm.complained()) == (cell.fault is Fault.GUEST)
    assert retarget.state is cell.next
