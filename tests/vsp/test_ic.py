"""Integration components against a guest that answers as hv_util does, or worse."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.ic.component import FRAMEWORKS, Component
from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.shutdown import Shutdown, ShutdownFlags
from host.vsp.ic.timesync import TimeSync
from host.vsp.testing import Clock, Loopback
from protocol.errors import OperatorError
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import ic
from protocol.wire.ic import IcFlags, IcFrame, IcMessage, IcVersion, Negotiate
from protocol.wire.pipe import wrap

IN_BAND = PacketType.IN_BAND


@pytest.fixture(scope="module")
def ram() -> Iterator[GuestRam]:
    memory = GuestRam.create(16 * 4096, "test-ic")
    yield memory
    memory.close()


class Util:
    """``hv_util`` for one channel: rings of 12 KiB, DIRECT mode."""

    def __init__(self, ram: GuestRam, device: Component) -> None:
        self.channel = Loopback(ram, range(1, 5), range(5, 9))
        self.channel.open(device)

    def frames(self) -> list[IcFrame]:
        return [IcFrame.decode(packet.payload) for packet in self.channel.receive()]

    def frame(self) -> IcFrame:
        (frame,) = self.frames()
        return frame

    def answer(self, frame: IcFrame) -> None:
        self.channel.send(IN_BAND, frame.encode())

    def choose(self, framework: IcVersion, version: IcVersion) -> None:
        """``vmbus_prep_negotiate_resp`` with the outcome given."""
        self.answer(self.frame().answer(Negotiate((framework,), (version,)).encode()))

    def beat(self) -> None:
        """``heartbeat_onchannelcallback``, and a time sync answered in the same way."""
        for frame in self.frames():
            if frame.message_type == IcMessage.HEARTBEAT:
                sequence = ic.Heartbeat.decode(frame.body).sequence
                self.answer(frame.answer(ic.Heartbeat(sequence + 1).encode()))
            else:
                self.answer(frame.answer(frame.body))


V3 = IcVersion(3, 0)


def negotiated(ram: GuestRam, device: Component, version: IcVersion = V3) -> Util:
    guest = Util(ram, device)
    guest.choose(V3, version)
    return guest


def test_every_component_is_offered_as_a_message_pipe() -> None:
    clock = Clock()
    for device in (Heartbeat(clock), TimeSync(clock), Shutdown(clock)):
        assert device.offer.flags == 0x11
        assert device.offer.user_defined == b"\x04\0\0\0"


def test_the_host_speaks_first_and_offers_all_its_versions(ram: GuestRam) -> None:
    guest = Util(ram, Shutdown(Clock()))
    frame = guest.frame()
    assert guest.channel.signals == 1
    assert (frame.message_type, frame.flags) == (IcMessage.NEGOTIATE, IcFlags.TRANSACTION | IcFlags.REQUEST)
    assert Negotiate.decode(frame.body) == Negotiate(FRAMEWORKS, ((1, 0), (3, 0), (3, 1), (3, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("version", [IcVersion(1, 0), IcVersion(3, 0)])
def test_the_guest_chooses_and_requests_carry_its_choice(
    ram: GuestRam, framework: IcVersion, version: IcVersion
) -> None:
    device = Heartbeat(Clock())
    guest = Util(ram, device)
    guest.choose(framework, version)
    frame = guest.frame()
    assert (frame.framework, frame.version) == (framework, version)


def test_nothing_in_common_leaves_the_channel_silent_and_tells_the_operator(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = Util(ram, device)
    guest.answer(guest.frame().answer(Negotiate((), ()).encode().ljust(16, b"\0")))
    clock.advance(60)
    assert not guest.frames()
    assert device.version is None
    assert "in common" in str(clock.complaints[0])


@pytest.mark.parametrize(
    "choice",
    [
        Negotiate((IcVersion(2, 0),), (IcVersion(3, 0),)),
        Negotiate((IcVersion(3, 0),), (IcVersion(9, 9),)),
        Negotiate((IcVersion(3, 0),), ()),
        Negotiate(FRAMEWORKS, (IcVersion(3, 0),)),
    ],
)
def test_a_choice_that_was_not_offered_is_refused(ram: GuestRam, choice: Negotiate) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = Util(ram, device)
    guest.answer(guest.frame().answer(choice.encode()))
    assert device.version is None
    assert "not offered" in str(clock.complaints[0])


def test_a_guest_may_take_its_time_to_negotiate(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = Util(ram, device)
    clock.advance(55)
    guest.choose(IcVersion(3, 0), IcVersion(3, 0))
    assert device.tally.sent == 1
    assert not clock.complaints


def test_a_heart_beats_every_two_seconds_without_drift(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = negotiated(ram, device)
    guest.beat()
    for _ in range(2000):
        clock.advance(0.1)
        guest.beat()
    assert device.tally.sent == device.tally.answered == 101
    assert (device.tally.missed, device.tally.late) == (0, 0)
    assert guest.channel.signals == 102, "one each, and one for the negotiation"
    assert not clock.complaints


def test_time_scale_shortens_the_period_and_nothing_else(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock, time_scale=100)
    guest = negotiated(ram, device)
    for _ in range(50):
        clock.advance(0.02)
        guest.beat()
    assert device.tally.sent == 51


def test_a_missing_answer_is_noted_and_a_late_one_is_complained_about(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = negotiated(ram, device)
    late = guest.frame()
    clock.advance(2)
    assert (device.tally.sent, device.tally.missed) == (2, 1)
    guest.answer(late.answer(ic.Heartbeat(2).encode()))
    assert (device.tally.answered, device.tally.late) == (0, 1)
    guest.beat()
    assert device.tally.answered == 1
    assert "answer to transaction" in str(clock.complaints[0])


def test_a_wrong_sequence_number_is_no_answer(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = negotiated(ram, device)
    guest.answer(guest.frame().answer(ic.Heartbeat(7).encode()))
    assert device.tally.answered == 0
    assert "must be one more" in str(clock.complaints[0])


def test_a_guest_that_reads_nothing_costs_skipped_beats_and_not_memory(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = negotiated(ram, device)
    clock.advance(2000)
    assert device.tally.skipped > 800
    assert device.tally.sent + device.tally.skipped == 1001
    sent = device.tally.sent
    sequences = [ic.Heartbeat.decode(frame.body).sequence for frame in guest.frames() + guest.frames()]
    assert sequences == list(range(1, sent + 1))
    clock.advance(2)
    assert device.tally.sent == sent + 1, "it goes on once there is room"


def test_a_host_that_slept_leaves_out_what_it_missed(ram: GuestRam) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = negotiated(ram, device)
    guest.beat()
    clock.time += 7 * 10_000_000
    clock.advance(0)
    assert device.tally.sent == 2
    clock.advance(1)
    assert device.tally.sent == 3, "8 s is on the grid of the first beat"


def test_the_clock_is_set_once_and_then_sampled_every_five_seconds(ram: GuestRam) -> None:
    clock = Clock(time=123)
    device = TimeSync(clock)
    guest = negotiated(ram, device, IcVersion(4, 0))
    first = ic.TimeSync.decode(guest.frame().body)
    assert first == ic.TimeSync(clock.started + 123, 123, ic.TimeSyncFlags.SYNC)
    for _ in range(20):
        clock.advance(5)
        sample = ic.TimeSync.decode(guest.frame().body)
        assert sample == ic.TimeSync(clock.wall_clock(), clock.now(), ic.TimeSyncFlags.SAMPLE)
    assert device.tally.sent == 21


@pytest.mark.parametrize("version", [IcVersion(1, 0), IcVersion(3, 0)])
def test_an_old_guest_gets_the_time_without_the_reference(ram: GuestRam, version: IcVersion) -> None:
    clock = Clock(time=123)
    guest = negotiated(ram, TimeSync(clock), version)
    frame = guest.frame()
    assert len(frame.body) == 25
    assert ic.TimeSyncV1.decode(frame.body) == ic.TimeSyncV1(clock.wall_clock(), 0, 0, ic.TimeSyncFlags.SYNC)


def test_shutdown_is_silent_until_somebody_asks_and_then_reports_the_answer(ram: GuestRam) -> None:
    clock = Clock()
    device = Shutdown(clock)
    answers: list[int | None] = []
    with pytest.raises(OperatorError, match="not negotiated"):
        device.request_shutdown(answers.append)
    guest = negotiated(ram, device, IcVersion(3, 2))
    clock.advance(3600)
    assert not guest.frames()
    device.request_shutdown(answers.append, ShutdownFlags.RESTART)
    with pytest.raises(OperatorError, match="in progress"):
        device.request_shutdown(answers.append)
    frame = guest.frame()
    assert ic.Shutdown.decode(frame.body) == ic.Shutdown(0x8000_0000, 0, 2)
    guest.answer(frame.answer(frame.body, ic.IcStatus.FAIL))
    assert answers == [ic.IcStatus.FAIL]
    device.request_shutdown(answers.append)
    guest.answer(guest.frame().answer(b""))
    assert answers == [ic.IcStatus.FAIL, ic.IcStatus.OK]


def test_hibernation_needs_version_3_1(ram: GuestRam) -> None:
    device = Shutdown(Clock())
    negotiated(ram, device, IcVersion(3, 0))
    with pytest.raises(OperatorError, match="too old"):
        device.request_shutdown(lambda status: None, ShutdownFlags.HIBERNATE)


def test_a_channel_closed_before_the_answer_is_an_answer_too(ram: GuestRam) -> None:
    device = Shutdown(Clock())
    negotiated(ram, device, IcVersion(3, 2))
    answers: list[int | None] = []
    device.request_shutdown(answers.append)
    closed: list[bool] = []
    device.close(lambda: closed.append(True))
    assert (answers, closed) == ([None], [True])


@pytest.mark.parametrize("make", [Heartbeat, TimeSync])
def test_a_closed_component_stops_and_a_reopened_one_starts_over(
    ram: GuestRam, make: Callable[[Clock], Component]
) -> None:
    clock = Clock()
    device = make(clock)
    guest = negotiated(ram, device)
    guest.beat()
    device.close(lambda: None)
    before = bytes(ram.bytes)
    clock.advance(100)
    device.doorbell()
    assert bytes(ram.bytes) == before
    assert device.tally.sent == 1
    negotiated(ram, device).beat()
    assert device.tally.sent == device.tally.answered == 2
    clock.advance(5)
    assert device.tally.sent > 2
    assert not clock.complaints


def garbage() -> st.SearchStrategy[bytes]:
    header = st.builds(
        IcFrame,
        st.integers(0, 8),
        st.binary(max_size=40),
        st.sampled_from(FRAMEWORKS),
        st.sampled_from(FRAMEWORKS),
        transaction=st.integers(0, 3),
        flags=st.integers(0, 255),
    )
    return st.one_of(st.binary(max_size=64), st.binary(max_size=64).map(wrap), header.map(IcFrame.encode))


@given(st.lists(garbage(), max_size=8), st.lists(garbage(), max_size=8))
def test_no_garbage_stops_the_beat(ram: GuestRam, before: list[bytes], after: list[bytes]) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = Util(ram, device)
    hello = guest.frame()
    for payload in before:
        guest.channel.send(IN_BAND, payload)
    guest.answer(hello.answer(Negotiate((IcVersion(3, 0),), (IcVersion(3, 0),)).encode()))
    for payload in after:
        guest.channel.send(IN_BAND, payload)
    clock.advance(2)
    answered = device.tally.answered
    guest.beat()
    assert device.version is not None
    assert device.tally.answered == answered + 1


@pytest.mark.parametrize("kind", [PacketType.COMPLETION, PacketType.TRANSFER_PAGES])
def test_only_in_band_packets_are_answers(ram: GuestRam, kind: PacketType) -> None:
    clock = Clock()
    device = Heartbeat(clock)
    guest = Util(ram, device)
    hello = guest.frame().answer(Negotiate((IcVersion(3, 0),), (IcVersion(3, 0),)).encode())
    guest.channel.send(kind, hello.encode())
    assert device.version is None
    assert "must be in band" in str(clock.complaints[0])
