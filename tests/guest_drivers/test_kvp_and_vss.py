"""Key-value pairs and backups: the host's end and the guest's, which stands in for its daemons."""

from __future__ import annotations

from typing import Any

import pytest

from guest.drivers.hv_util.driver import HvUtils
from guest.drivers.hv_util.kvp import AUTO
from guest.drivers.hv_util.vss import VssWords
from host.vsp.ic.kvp import Kvp
from host.vsp.ic.vss import Vss
from protocol.shell.memory import GuestRam
from protocol.wire.ic import IcFrame, IcMessage, IcStatus
from protocol.wire.kvp import KvpPool
from tests.guest_drivers.bench import Bench, Line
from tests.guest_drivers.small import bench_of, plug


def kvp_bench(ram: GuestRam, cpu: int = 0, every: float = 0.0) -> tuple[Bench, Kvp, Line]:
    bench = bench_of(ram)
    device = Kvp(bench.clock, every)
    line = plug(bench, device, HvUtils, cpu)
    bench.probe(line)
    return bench, device, line


def test_the_only_interrupt_is_the_negotiation(ram: GuestRam) -> None:
    bench, device, line = kvp_bench(ram)
    bench.pass_time(60)
    assert (line.signals, device.version) == (1, (4, 0))


@pytest.mark.parametrize("cpu", [0, 1])
def test_the_host_reads_all_that_the_guest_says_of_itself(ram: GuestRam, cpu: int) -> None:
    bench, device, _ = kvp_bench(ram, cpu)
    outcomes: list[Any] = []
    device.enumerate(outcomes.append)
    bench.settle()
    assert outcomes == [{"status": IcStatus.OK, "pairs": AUTO}]
    device.get(outcomes.append, KvpPool.AUTO, "OSName")
    bench.settle()
    assert outcomes[1]["pairs"] == {"OSName": AUTO["OSName"]}


def test_notes_stay_in_their_pool_until_they_are_deleted(ram: GuestRam) -> None:
    bench, device, _ = kvp_bench(ram)
    outcomes: list[Any] = []

    def statuses() -> list[int]:
        bench.settle()
        return [outcome["status"] for outcome in outcomes]

    device.set(outcomes.append, KvpPool.EXTERNAL, "Schlüssel", "Wert")
    assert statuses() == [IcStatus.OK]
    device.set(outcomes.append, KvpPool.EXTERNAL, "Schlüssel", "neu")
    statuses()
    device.enumerate(outcomes.append, KvpPool.EXTERNAL)
    statuses()
    assert outcomes[-1]["pairs"] == {"Schlüssel": "neu"}
    device.get(outcomes.append, KvpPool.GUEST, "Schlüssel")
    assert statuses()[-1] == IcStatus.CONTINUE
    device.delete(outcomes.append, KvpPool.EXTERNAL, "Schlüssel")
    assert statuses()[-1] == IcStatus.OK
    device.delete(outcomes.append, KvpPool.EXTERNAL, "Schlüssel")
    assert statuses()[-1] == IcStatus.CONTINUE


def test_the_guest_runs_out_of_room_and_says_so(ram: GuestRam) -> None:
    bench, device, _ = kvp_bench(ram)
    outcomes: list[Any] = []
    for number in range(17):
        device.set(outcomes.append, KvpPool.GUEST, str(number), "x")
        bench.settle()
    assert [outcome["status"] for outcome in outcomes] == [IcStatus.OK] * 16 + [IcStatus.CONTINUE]


def test_an_exchange_that_the_guest_does_not_know_is_refused(ram: GuestRam, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, device, _ = kvp_bench(ram)
    answers: list[IcFrame] = []
    monkeypatch.setattr(device, "on_answer", answers.append)
    assert device.request(bytes([9]) + bytes(7))
    bench.settle()
    assert [(frame.message_type, frame.status) for frame in answers] == [(IcMessage.KVPEXCHANGE, IcStatus.FAIL)]


def test_pairs_can_be_read_again_and_again_by_themselves(ram: GuestRam) -> None:
    bench, device, _ = kvp_bench(ram, every=5)
    bench.pass_time(16)
    assert device.tally.answered == 3 * (len(AUTO) + 1)
    assert device.pairs == AUTO


@pytest.mark.parametrize("cpu", [0, 1])
def test_a_backup_freezes_and_thaws(ram: GuestRam, cpu: int) -> None:
    bench = bench_of(ram)
    device = Vss(bench.clock)
    line = plug(bench, device, HvUtils, cpu)
    bench.probe(line)
    bench.pass_time(10)
    assert (line.signals, device.version) == (1, (5, 0))
    statuses: list[int | None] = []
    device.backup(statuses.append, frozen_for=2)
    bench.settle()
    words = line.views[0].state(VssWords)
    assert (words.freezes, words.thaws, statuses) == (1, 0, [])
    bench.pass_time(3)
    assert (words.freezes, words.thaws, statuses, device.backups) == (1, 1, [IcStatus.OK], 1)
