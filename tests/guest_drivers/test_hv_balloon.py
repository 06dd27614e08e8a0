"""Dynamic memory of the guest, against the host's own and against hosts that refuse or lie."""

from __future__ import annotations

import errno

import pytest

from guest.drivers.hv_balloon.driver import HvBalloon
from guest.drivers.hv_balloon.pressure import compute_balloon_floor
from guest.drivers.hv_balloon.words import BalloonWords
from host.vsp.balloon.balloon import Balloon
from protocol.shell.memory import GuestRam
from protocol.wire import dynmem
from protocol.wire.dynmem import PAGES_IN_2M, VERSIONS, DmType, PageRange, UnballoonRequest
from tests.guest_drivers.bench import Bench, Line
from tests.guest_drivers.small import Host, begin, bench_of, plug

RAM = 16384


@pytest.fixture
def large() -> GuestRam:
    """64 MiB: below that everything is under the floor."""
    return GuestRam.create(RAM * 4096, "test-hv-balloon")


def probed(ram: GuestRam, cpu: int = 0) -> tuple[Bench, Balloon, Line]:
    bench = bench_of(ram)
    device = Balloon(bench.clock)
    line = plug(bench, device, HvBalloon, cpu)
    bench.probe(line)
    return bench, device, line


def test_there_are_three_interrupts_as_in_the_letter(large: GuestRam) -> None:
    bench, device, line = probed(large)
    bench.pass_time(3)
    assert line.signals == 3, "version, capabilities, and how large the guest may become"
    words = line.views[0].state(BalloonWords)
    assert words.max_pages == RAM
    assert "hv_balloon: Using Dynamic Memory protocol version 2.0" in bench.buses[0].log
    assert "hv_balloon: Max. dynamic memory size: 64 MB" in bench.buses[0].log
    assert device.counts()["status_reports"] == 0


def test_reports_begin_after_45_seconds_and_come_every_second(large: GuestRam) -> None:
    bench, device, _ = probed(large)
    bench.pass_time(45.5)
    assert device.counts()["status_reports"] == 0
    bench.pass_time(10)
    assert device.counts()["status_reports"] == 10
    assert device.counts()["available_pages"] == bench.cores[0].pages.free_pages()


@pytest.mark.parametrize("cpu", [0, 1])
def test_pages_go_to_the_host_and_come_back(large: GuestRam, cpu: int) -> None:
    bench, device, line = probed(large, cpu)
    free = bench.cores[0].pages.free_pages()
    moved: list[int | None] = []
    device.inflate(moved.append, 3 * PAGES_IN_2M)
    bench.settle()
    assert moved == [3 * PAGES_IN_2M]
    assert bench.cores[1].pages.free_pages() == free - 3 * PAGES_IN_2M
    assert line.views[0].state(BalloonWords).num_pages_ballooned == 3 * PAGES_IN_2M
    device.deflate(moved.append, 100)
    bench.settle()
    device.deflate(moved.append, 1 << 20)
    bench.settle()
    assert moved == [3 * PAGES_IN_2M, 100, 3 * PAGES_IN_2M - 100]
    assert bench.cores[0].pages.free_pages() == free
    assert not bench.clock.complaints


def test_a_guest_never_goes_below_its_floor(large: GuestRam) -> None:
    bench, device, _ = probed(large)
    moved: list[int | None] = []
    device.inflate(moved.append, 1 << 13)
    bench.settle()
    assert moved[0]
    assert bench.cores[0].pages.free_pages() >= compute_balloon_floor(RAM)
    assert bench.cores[0].pages.free_pages() < compute_balloon_floor(RAM) + 2 * PAGES_IN_2M
    assert any("partially fulfilled. Balloon floor reached." in line for line in bench.buses[0].log)


@pytest.mark.parametrize(("megabytes", "floor"), [(64, 40), (256, 104), (1024, 232), (4096, 488), (16384, 1000)])
def test_the_floor_is_that_of_linux(megabytes: int, floor: int) -> None:
    """As the comment over ``compute_balloon_floor`` tabulates it."""
    assert compute_balloon_floor(megabytes << 8) >> 8 == floor


@pytest.mark.parametrize("newest", VERSIONS)
def test_the_guest_goes_down_its_versions_until_the_host_agrees(large: GuestRam, newest: int) -> None:
    bench = bench_of(large)
    line = plug(bench, Balloon(bench.clock, newest=newest), HvBalloon)
    bench.probe(line)
    assert line.views[0].state(BalloonWords).version == newest


def test_a_host_that_agrees_to_nothing_is_as_bad_as_a_silent_one(large: GuestRam) -> None:
    bench = bench_of(large)
    host = Host()
    host.answer = lambda payload: dynmem.message(DmType.VERSION_RESPONSE, dynmem.Accepted(0).encode())
    (error,) = begin(bench, plug(bench, host, HvBalloon))
    assert isinstance(error, OSError)
    assert error.errno == errno.ETIMEDOUT
    asked = [dynmem.VersionRequest.decode(dynmem.parse(payload)[1]) for payload in host.heard]
    assert [(each.version, each.is_last_attempt) for each in asked] == [(0x2_0000, 0), (0x1_0000, 0), (3, 1)]


def test_a_silent_host_is_given_up_after_five_seconds(large: GuestRam) -> None:
    bench = bench_of(large)
    outcome = begin(bench, plug(bench, Host(), HvBalloon))
    bench.pass_time(4.5)
    assert not outcome
    bench.pass_time(1)
    assert isinstance(outcome[0], OSError)
    assert outcome[0].errno == errno.ETIMEDOUT


def test_pages_that_the_host_does_not_have_stay_where_they_are(large: GuestRam) -> None:
    bench, device, line = probed(large)
    free = bench.cores[0].pages.free_pages()
    for lie in (PageRange(1, 4), PageRange(RAM - 1, 2), PageRange(5, 0)):
        payload = dynmem.message(DmType.UNBALLOON_REQUEST, UnballoonRequest((lie,), more=False).encode())
        device.post(payload)
        bench.settle()
    words = line.views[0].state(BalloonWords)
    assert (words.illegal, words.num_pages_ballooned) == (3, 0)
    assert bench.cores[0].pages.free_pages() == free


def test_a_removed_driver_has_no_thread_left(large: GuestRam) -> None:
    bench, _, line = probed(large)
    channel = line.views[0]
    driver = channel.driver
    assert driver is not None
    bench.run(driver.remove(channel.device))
    assert not channel.mapped
    bench.pass_time(60)
    assert not bench.cores[0].parked
