"""Any guest, any operator, any order: what holds whatever they do."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from host.vmbus.opened import OpenedChannel
from host.vmbus.options import UNTIL_RELEASED, HostOptions, ModifyAnswer, Step
from host.vmbus.server import OfferHandle
from host.vmbus.tables.channel import ChannelState
from host.vmbus.tables.connection import ConnectionState
from host.vmbus.tables.gpadl import GpadlState
from protocol.errors import OperatorError, PeerError
from protocol.ids import ConnectionId, GpadlId, Relid, VpIndex
from protocol.wire.messages import (
    CloseChannel,
    ControlMessage,
    GpadlBody,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    ModifyChannel,
    ModifyChannelResponse,
    OfferChannel,
    OpenChannel,
    OpenChannelResult,
    RelidReleased,
    RequestOffers,
    RescindChannelOffer,
    Unload,
    UnloadResponse,
    VersionResponse,
    may_send,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import RAM_PAGES, FakeDevice, Vm, channel_of

relids = st.sampled_from([1, 1, 1, 1, 2, 2, 3, 0]).map(Relid)
gpadl_ids = st.sampled_from([1, 2, 11, 11, 12]).map(GpadlId)
rarely = st.sampled_from([False] * 9 + [True])
pfns = st.integers(0, RAM_PAGES + 1)
vps = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 4, 0xFFFFFFFF]).map(VpIndex)
CLOSED_DEVICE = frozenset({ChannelState.CLIENT_RELEASED, ChannelState.CLOSED, ChannelState.REVOKED})


class Promises:
    """What the host has said on this connection, checked as it says it."""

    def __init__(self, devices: list[FakeDevice]) -> None:
        self.devices = devices
        self.asked: Counter[object] = Counter()
        self.new_connection()

    def new_connection(self) -> None:
        self.asked.clear()
        self.theirs: set[Relid] = set()
        self.rescinded: set[Relid] = set()

    def check(self, message: ControlMessage) -> None:
        match message:
            case OfferChannel(relid=relid):
                assert relid not in self.theirs, "a relid is not reused before the guest released it"
                self.theirs.add(relid)
                self.rescinded.discard(relid)
            case RescindChannelOffer(relid):
                assert relid in self.theirs and relid not in self.rescinded, "an offer is rescinded once"
                self.rescinded.add(relid)
            case OpenChannelResult(relid, open_id):
                assert relid not in self.rescinded, "the rescind is the answer"
                self.answer(relid, open_id)
            case GpadlCreated(relid, gpadl):
                self.answer("create", relid, gpadl)
            case GpadlTorndown(gpadl):
                self.answer("teardown", gpadl)
            case ModifyChannelResponse(relid):
                self.answer("modify", relid)
            case UnloadResponse() | VersionResponse():
                in_use = [device for device in self.devices if device.channel or device.done]
                assert not in_use, "the guest's memory is its own again"
                self.new_connection()

    def answer(self, *question: object) -> None:
        assert self.asked[question], f"{question} was asked, and not answered before"
        self.asked[question] -= 1


class RandomGuest(RuleBasedStateMachine):
    @initialize(
        slow=st.lists(st.booleans(), min_size=3, max_size=3),
        steps=st.sets(st.sampled_from(Step)),
        modify=st.sampled_from(ModifyAnswer),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def boot(self, slow: list[bool], steps: set[Step], modify: ModifyAnswer, flags: tuple[bool, bool, bool]) -> None:
        options = HostOptions(
            modify=modify,
            delay=dict.fromkeys(steps, UNTIL_RELEASED),
            answer_modify_of_closed=flags[0],
            answer_modify_overtaken=flags[1],
            queue_overlapping_modify=flags[2],
        )
        self.vm = Vm(options)
        self.devices = [FakeDevice(instance=number, slow=each) for number, each in enumerate(slow)]
        self.handles: dict[int, OfferHandle] = {}
        self.promises = Promises(self.devices)
        self.opens = 0
        for number in (0, 1):
            self.offer(number)
        self.vm.connect()
        self.promises.check(VersionResponse(1))
        for number in (1, 2):
            self.promises.theirs.add(Relid(number))

    def listen(self) -> None:
        for message in self.vm.heard():
            assert may_send(type(message), self.vm.hypervisor.dialect)
            self.promises.check(message)
        for complaint in self.vm.complaints:
            assert isinstance(complaint, PeerError), "devices have nothing to complain about"
        self.vm.complaints.clear()

    def say(self, message: ControlMessage) -> None:
        self.vm.send(message)

    # The guest, well behaved or not.

    @rule(version=st.sampled_from([*Version, 0x00070000]), vp=st.sampled_from([0, 3, 4]), half=st.booleans(), go=rarely)
    def contact(self, version: int, vp: int, half: bool, go: bool) -> None:
        if go:
            self.vm.contact(version, vp, parent_to_child_monitor=0x1000 * half)

    @rule(version=st.sampled_from([Version.V5_2, Version.V5_3]))
    def come_back(self, version: Version) -> None:
        if self.vm.server.state is ConnectionState.DISCONNECTED:
            self.vm.contact(version)
        elif self.vm.server.state is ConnectionState.NEGOTIATED:
            self.say(RequestOffers())

    @rule(go=rarely)
    def request_offers(self, go: bool) -> None:
        if go:
            self.say(RequestOffers())

    @rule(go=rarely)
    def unload(self, go: bool) -> None:
        if go:
            self.say(Unload())

    @rule(relid=relids, id=gpadl_ids)
    def rings(self, relid: Relid, id: GpadlId) -> None:
        self.promises.asked["create", relid, id] += 1
        self.vm.describe(relid, gpadl=id)

    @rule(
        relid=relids,
        id=gpadl_ids,
        length=st.integers(0, 40),
        count=st.integers(0, 3),
        words=st.lists(pfns | st.integers(0, 2**64 - 1), max_size=27),
    )
    def any_header(self, relid: Relid, id: GpadlId, length: int, count: int, words: list[int]) -> None:
        self.promises.asked["create", relid, id] += 1
        self.say(GpadlHeader(relid, id, length * 8, count, tuple(words)))

    @rule(relid=relids, id=gpadl_ids, pages=st.lists(pfns, min_size=27, max_size=60))
    def long_gpadl(self, relid: Relid, id: GpadlId, pages: list[int]) -> None:
        self.promises.asked["create", relid, id] += 1
        self.vm.describe(relid, *pages, gpadl=id)

    @rule(id=gpadl_ids, words=st.lists(pfns, max_size=28))
    def any_body(self, id: GpadlId, words: list[int]) -> None:
        self.say(GpadlBody(0, id, tuple(words)))

    @rule(relid=relids, id=gpadl_ids)
    def tear_down(self, relid: Relid, id: GpadlId) -> None:
        self.promises.asked["teardown", id] += 1
        self.say(GpadlTeardown(relid, id))

    @rule(relid=relids, id=gpadl_ids, vp=vps, downstream=st.sampled_from([0, 2, 4, 4, 4, 4, 7]))
    def open(self, relid: Relid, id: GpadlId, vp: VpIndex, downstream: int) -> None:
        self.opens += 1
        self.promises.asked[relid, self.opens] += 1
        self.say(OpenChannel(relid, self.opens, id, vp, downstream, b""))

    @rule(relid=st.sampled_from([1, 2]), vp=st.integers(0, 3))
    def open_well(self, relid: int, vp: int) -> None:
        rings = GpadlId(10 + relid)
        self.rings(Relid(relid), rings)
        self.listen()
        if Step.GPADL in self.vm.server.options.delay and self.opens % 2:
            self.vm.server.release(Step.GPADL)
        self.open(Relid(relid), rings, VpIndex(vp), 4)

    @rule(relid=st.sampled_from([1, 2]))
    def leave(self, relid: int) -> None:
        self.close(Relid(relid))
        self.tear_down(Relid(relid), GpadlId(10 + relid))

    @rule(relid=relids)
    def close(self, relid: Relid) -> None:
        self.say(CloseChannel(relid))

    @rule(relid=relids)
    def release_relid(self, relid: Relid) -> None:
        self.promises.theirs.discard(relid)
        self.say(RelidReleased(relid))
        if relid in {snapshot.relid for snapshot in self.vm.server.snapshot()} and not any(
            isinstance(posted.message, OfferChannel) and posted.message.relid == relid
            for posted in self.vm.hypervisor.posted[self.vm._heard :]
        ):
            self.promises.theirs.add(relid)  # The server did not accept it.

    @rule(relid=relids, vp=vps)
    def modify(self, relid: Relid, vp: VpIndex) -> None:
        self.promises.asked["modify", relid] += 1
        self.say(ModifyChannel(relid, vp))

    @rule(number=st.integers(0, 31), rest=st.binary(max_size=60), port=st.sampled_from([1, 4]))
    def garbage(self, number: int, rest: bytes, port: int) -> None:
        # Well-formed by accident it may be, but it names a channel that cannot exist.
        payload = number.to_bytes(4, "little") + bytes(4) + b"\xff" * 16 + rest
        if number not in (8, 14, 16, 22):
            self.vm.hypervisor.message_ports[ConnectionId(port)](VpIndex(0), payload)

    @rule(relid=relids)
    def ring(self, relid: Relid) -> None:
        doorbell = ConnectionId(0x2000 | relid)
        if doorbell in self.vm.hypervisor.event_ports:
            self.vm.hypervisor.event_ports[doorbell]()

    # The operator and the devices.

    @rule(number=st.integers(0, 2))
    def offer(self, number: int) -> None:
        try:
            self.handles[number] = self.vm.server.offer(self.devices[number])
        except OperatorError:
            assert number in self.handles, "only what is offered already is refused"

    @rule(number=st.integers(0, 2))
    def rescind(self, number: int) -> None:
        if number in self.handles:
            self.handles[number].rescind()

    @rule(go=rarely)
    def reset(self, go: bool) -> None:
        if not go:
            return
        self.vm.server.reset()
        if self.vm.server.state in (ConnectionState.DISCONNECTED, ConnectionState.RESETTING):
            self.promises.new_connection()

    @rule(number=st.integers(0, 2))
    def finish(self, number: int) -> None:
        if self.devices[number].done:
            self.devices[number].finish()

    @rule(number=st.integers(0, 2))
    def signal(self, number: int) -> None:
        if self.devices[number].channel:
            self.devices[number].signal()

    @rule(number=st.integers(0, 2), refuses=st.booleans())
    def mood(self, number: int, refuses: bool) -> None:
        self.devices[number].open_error = PeerError("not today") if refuses else None

    @rule(step=st.none() | st.sampled_from(Step))
    def let(self, step: Step | None) -> None:
        self.vm.server.release(step)

    @rule(modify=st.sampled_from(ModifyAnswer))
    def change_mind(self, modify: ModifyAnswer) -> None:
        self.vm.server.options = replace(self.vm.server.options, modify=modify)

    # What holds.

    @invariant()
    def the_host_keeps_its_promises(self) -> None:
        if hasattr(self, "vm"):
            self.listen()

    @invariant()
    def open_devices_keep_their_pages(self) -> None:
        for device in getattr(self, "devices", []):
            if isinstance(device.channel, OpenedChannel):
                assert all(gpadl.state is not GpadlState.GONE for gpadl in device.channel._mapped)

    @invariant()
    def doorbells_ring_open_devices(self) -> None:
        if hasattr(self, "vm"):
            open_now = sum(device.channel is not None and device.done is None for device in self.devices)
            releasing = sum(
                snapshot.state is ChannelState.OPENING_CLIENT_RELEASE for snapshot in self.vm.server.snapshot()
            )
            assert open_now - releasing <= len(self.vm.hypervisor.event_ports) <= open_now

    @invariant()
    def closed_channels_have_closed_devices(self) -> None:
        for number, handle in getattr(self, "handles", {}).items():
            if channel_of(handle).device is self.devices[number] and handle.state in CLOSED_DEVICE:
                assert self.devices[number].done is None

    def teardown_everything(self) -> None:
        """Whatever happened, the host lets go of everything in the end and then serves the next guest."""
        self.vm.server.reset()
        self.promises.new_connection()
        for _ in range(2):
            self.vm.server.release()
            for device in self.devices:
                if device.done:
                    device.finish()
        assert not self.vm.server._connection.gpadls.in_use
        self.vm.contact()
        assert self.vm.server.state is ConnectionState.NEGOTIATED

    def teardown(self) -> None:
        if hasattr(self, "vm"):
            self.listen()
            self.teardown_everything()


RandomGuest.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestRandomGuest = RandomGuest.TestCase


@pytest.mark.parametrize("seed", range(12))
def test_a_long_life(seed: int) -> None:
    """The same rules for thousands of steps: Hypothesis finds short counterexamples, this finds rare states."""
    dice = Random(seed)
    life = RandomGuest()
    life.boot(
        slow=[dice.random() < 0.8 for _ in range(3)],
        steps={step for step in Step if dice.random() < 0.6},
        modify=ModifyAnswer.ANSWER,
        flags=(dice.random() < 0.5, dice.random() < 0.5, dice.random() < 0.5),
    )

    def relid() -> Relid:
        return Relid(dice.choice([1, 1, 1, 2, 2, 3, 0]))

    def gpadl() -> GpadlId:
        return GpadlId(dice.choice([1, 2, 11, 12]))

    def pages() -> list[int]:
        return [dice.randrange(RAM_PAGES + (dice.random() < 0.05)) for _ in range(dice.choice([30, 60]))]

    often: list[Callable[[], None]] = [
        lambda: life.open_well(dice.choice([1, 2]), dice.randrange(4)),
        lambda: life.come_back(dice.choice([Version.V5_2, Version.V5_3])),
        lambda: life.open(relid(), gpadl(), VpIndex(dice.randrange(4)), 4),
        lambda: life.close(Relid(1)),
        lambda: life.close(relid()),
        lambda: life.tear_down(relid(), gpadl()),
        lambda: life.release_relid(relid()),
        lambda: life.modify(relid(), VpIndex(dice.randrange(5))),
        lambda: life.modify(relid(), VpIndex(dice.randrange(4))),
        lambda: life.long_gpadl(relid(), gpadl(), pages()),
        lambda: life.any_body(gpadl(), pages()[:28]),
        lambda: life.any_header(relid(), gpadl(), 30, dice.randrange(3), [4096 * 29, *pages()][:27]),
        lambda: life.offer(dice.randrange(3)),
        lambda: life.rescind(dice.randrange(3)),
        lambda: life.finish(dice.randrange(3)),
        lambda: life.signal(dice.randrange(3)),
        lambda: life.ring(relid()),
        lambda: life.let(dice.choice([None, *Step])),
        lambda: life.change_mind(dice.choice([ModifyAnswer.ANSWER, *ModifyAnswer])),
        lambda: life.mood(dice.randrange(3), dice.random() < 0.2),
    ]
    seldom: list[Callable[[], None]] = [
        lambda: life.contact(dice.choice([*Version, 0x00070000]), dice.choice([0, 3, 4]), dice.random() < 0.1, True),
        lambda: life.request_offers(True),
        lambda: life.unload(True),
        lambda: life.reset(True),
    ]
    for _ in range(3000):
        dice.choice(seldom if dice.random() < 0.05 else often)()
        life.the_host_keeps_its_promises()
        life.open_devices_keep_their_pages()
        life.doorbells_ring_open_devices()
        life.closed_channels_have_closed_devices()
    life.teardown()
