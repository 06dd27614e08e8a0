"""Heartbeat, time synchronization and shutdown."""

import pytest

from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.shutdown import Shutdown, ShutdownFlags
from host.vsp.ic.timesync import TimeSync
from host.vsp.testing import Clock
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from protocol.wire import ic
from protocol.wire.ic import IcVersion
from tests.vsp.hv_util import negotiated


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
