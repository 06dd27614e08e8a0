"""Key-value pairs and backups of the host, against guests that are slow, refuse, or talk nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from host.vsp.ic.kvp import MAX_PAIRS, Kvp
from host.vsp.ic.vss import Vss
from host.vsp.testing import Clock
from protocol.errors import OperatorError
from protocol.shell.memory import GuestRam
from protocol.wire.ic import IcFrame, IcStatus, IcVersion
from protocol.wire.kvp import KvpEnumerate, KvpExchange, KvpPool, utf16
from protocol.wire.layout import DoesNotFit
from protocol.wire.vss import VssMessage, VssOperation
from tests.vsp.hv_util import Util, negotiated

V4, V5 = IcVersion(4, 0), IcVersion(5, 0)


def pair(index: int, key: str, value: str) -> bytes:
    name, text = utf16(key, 512), utf16(value, 2048)
    return KvpEnumerate(3, 2, index, 1, len(name), len(text), name, text).encode()


def test_nothing_is_asked_before_the_guest_has_negotiated_however_long_that_takes(ram: GuestRam) -> None:
    clock = Clock()
    device = Kvp(clock)
    guest = Util(ram, device)
    clock.advance(55)
    with pytest.raises(OperatorError, match="55 s"):
        device.enumerate(lambda outcome: None)
    guest.choose(IcVersion(3, 0), V4)
    device.enumerate(lambda outcome: None)
    assert KvpEnumerate.decode(guest.frame().body).index == 0


def test_an_enumeration_asks_for_one_pair_after_the_other_until_there_are_no_more(ram: GuestRam) -> None:
    device = Kvp(Clock())
    guest = negotiated(ram, device, V4)
    outcomes: list[Any] = []
    device.enumerate(outcomes.append)
    with pytest.raises(OperatorError, match="being asked already"):
        device.get(outcomes.append, KvpPool.AUTO, "OSName")
    for index, value in enumerate(("eins", "zwei")):
        frame = guest.frame()
        assert KvpEnumerate.decode(frame.body).index == index
        guest.answer(frame.answer(pair(index, f"key {index}", value)))
    guest.answer(guest.frame().answer(b"", IcStatus.CONTINUE))
    assert outcomes == [{"status": IcStatus.OK, "pairs": {"key 0": "eins", "key 1": "zwei"}}]


def test_without_a_daemon_the_guest_refuses_everything(ram: GuestRam) -> None:
    device = Kvp(Clock())
    guest = negotiated(ram, device, V4)
    outcomes: list[Any] = []
    device.set(outcomes.append, KvpPool.EXTERNAL, "key", "value")
    sent = KvpExchange.decode(guest.channel.receive()[0].payload, 28)
    assert (sent.key[:8], sent.key_size, sent.value_size) == (b"k\0e\0y\0\0\0", 8, 12)
    frame = IcFrame(2, b"", transaction=2, status=IcStatus.FAIL, flags=5)
    guest.answer(frame)
    assert outcomes == [{"status": IcStatus.FAIL, "pairs": {}}]


@pytest.mark.parametrize(
    "body",
    [b"", bytes(2579), pair(0, "k", "v")[:12] + b"\xff\xff\xff\xff" + pair(0, "k", "v")[16:]],
    ids=["empty", "short", "endless key"],
)
def test_an_answer_that_cannot_be_read_is_a_failure_and_no_crash(ram: GuestRam, body: bytes) -> None:
    clock = Clock()
    device = Kvp(clock)
    guest = negotiated(ram, device, V4)
    outcomes: list[Any] = []
    device.enumerate(outcomes.append)
    guest.answer(guest.frame().answer(body))
    assert outcomes == [{"status": IcStatus.FAIL, "pairs": {}}]
    assert len(clock.complaints) == 1
    device.enumerate(outcomes.append)


def test_a_guest_that_never_runs_out_of_pairs_is_given_up(ram: GuestRam) -> None:
    device = Kvp(Clock())
    guest = negotiated(ram, device, V4)
    outcomes: list[Any] = []
    device.enumerate(outcomes.append)
    while not outcomes:
        guest.answer(guest.frame().answer(pair(0, "again", "and again")))
    assert outcomes[0]["pairs"] == {"again": "and again"}
    assert device.tally.answered == MAX_PAIRS + 1


def test_a_guest_that_reads_nothing_is_complained_about_once_a_period(ram: GuestRam) -> None:
    clock = Clock()
    device = Kvp(clock, every=10)
    guest = negotiated(ram, device, V4)
    clock.advance(30)
    assert ["being asked already" in str(error) for error in clock.complaints] == [True, True]
    guest.answer(guest.frame().answer(b"", IcStatus.FAIL))
    clock.advance(10)
    assert len(clock.complaints) == 2
    assert device.tally.sent == 2


def test_a_text_that_does_not_fit_is_the_operators_mistake(ram: GuestRam) -> None:
    device = Kvp(Clock())
    guest = negotiated(ram, device, V4)
    with pytest.raises(DoesNotFit, match="at most 512"):
        device.set(lambda outcome: None, KvpPool.EXTERNAL, "k" * 256, "")
    assert guest.frames() == []


def test_closing_the_channel_is_an_answer_too(ram: GuestRam) -> None:
    outcomes: list[Any] = []
    pairs, backup = Kvp(Clock()), Vss(Clock())
    negotiated(ram, pairs, V4)
    pairs.enumerate(outcomes.append)
    pairs.close(lambda: None)
    negotiated(ram, backup, V5)
    backup.backup(outcomes.append)
    backup.close(lambda: None)
    assert outcomes == [None, None]


def steps(guest: Util, clock: Clock, *statuses: int) -> list[int]:
    """Answer one step after the other; what was asked."""
    asked = []
    for status in statuses:
        clock.advance(0)
        frame = guest.frame()
        asked.append(VssMessage.decode(frame.body).operation)
        guest.answer(frame.answer(frame.body, status))
    clock.advance(0)
    assert guest.frames() == []
    return asked


def test_a_backup_is_a_question_a_freeze_and_a_thaw(ram: GuestRam) -> None:
    clock = Clock()
    device = Vss(clock)
    guest = negotiated(ram, device, V5)
    statuses: list[int | None] = []
    device.backup(statuses.append)
    with pytest.raises(OperatorError, match="in progress"):
        device.backup(statuses.append)
    ok = IcStatus.OK
    assert steps(guest, clock, ok, ok, ok) == [VssOperation.HOT_BACKUP, VssOperation.FREEZE, VssOperation.THAW]
    assert (statuses, device.backups) == ([ok], 1)


def test_a_guest_that_cannot_be_frozen_is_thawed_all_the_same(ram: GuestRam) -> None:
    clock = Clock()
    device = Vss(clock)
    guest = negotiated(ram, device, V5)
    statuses: list[int | None] = []
    device.backup(statuses.append)
    asked = steps(guest, clock, IcStatus.OK, IcStatus.FAIL, IcStatus.OK)
    assert asked[-1] == VssOperation.THAW
    assert (statuses, device.backups) == ([IcStatus.FAIL], 0)


def test_a_guest_that_does_not_do_backups_is_not_frozen(ram: GuestRam) -> None:
    clock = Clock()
    device = Vss(clock)
    guest = negotiated(ram, device, V5)
    statuses: list[int | None] = []
    device.backup(statuses.append)
    assert steps(guest, clock, IcStatus.FAIL) == [VssOperation.HOT_BACKUP]
    assert statuses == [IcStatus.FAIL]


def test_backups_begin_by_themselves_if_somebody_wants_it(ram: GuestRam) -> None:
    clock = Clock()
    device = Vss(clock, every=60)
    guest = negotiated(ram, device, V5)
    for _ in range(3):
        clock.advance(60)
        steps(guest, clock, IcStatus.OK, IcStatus.OK, IcStatus.OK)
    assert device.backups == 3
