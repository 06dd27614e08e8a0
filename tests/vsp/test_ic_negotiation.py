"""What integration components have in common, against a guest that answers as hv_util does, or worse."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.ic.component import FRAMEWORKS, Component
from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.shutdown import Shutdown
from host.vsp.ic.timesync import TimeSync
from host.vsp.testing import Clock
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire.ic import IcFlags, IcFrame, IcMessage, IcVersion, Negotiate
from protocol.wire.pipe import wrap
from tests.vsp.hv_util import IN_BAND, Util, negotiated


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
