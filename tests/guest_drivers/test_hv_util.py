"""Integration services of the guest, against the host's own and against a host that says what it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guest.drivers.hv_util.driver import HvUtils
from guest.drivers.hv_util.heartbeat import HeartbeatWords
from guest.drivers.hv_util.negotiate import choose
from guest.drivers.hv_util.service import UtilWords
from guest.drivers.hv_util.shutdown import PowerAction, ShutdownWords
from guest.drivers.hv_util.timesync import SAMPLE_TIMEOUT, TimesyncWords, adjusted_host_time
from guest.kernel.core import Core
from guest.vmbus.device import HvDriver
from host.vsp.device import Device, Offer, VspChannel
from host.vsp.ic.heartbeat import Heartbeat
from host.vsp.ic.shutdown import Shutdown, ShutdownFlags
from host.vsp.ic.timesync import TimeSync
from protocol.ring import Packet, PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import ic
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_SHUTDOWN_GUID, HV_TS_GUID
from protocol.wire.ic import EPOCH_1601, IcFlags, IcFrame, IcMessage, IcStatus, IcVersion, Negotiate
from tests.guest_drivers.bench import Bench, Line, instance

CPUS = 2


def drivers(core: Core, bus: Any) -> list[HvDriver]:
    return [HvUtils(core, bus)]


class Host:
    """A component that sends what the test tells it to, and keeps the answers."""

    def __init__(self, class_id: Any = HV_HEART_BEAT_GUID) -> None:
        self.offer = Offer(class_id, instance(1))
        self.payloads: list[bytes] = []
        self.answers: list[IcFrame] = []
        self.ids: list[int] = []
        self.channel: VspChannel

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self.channel = channel

    def close(self, done: Callable[[], None]) -> None:
        done()

    def doorbell(self) -> None:
        self.channel.incoming.drain(self._take)
        self.channel.incoming.release()

    def counts(self) -> dict[str, int]:
        return {}

    def _take(self, packet: Packet) -> None:
        assert packet.type == PacketType.IN_BAND
        self.ids.append(packet.transaction_id)
        self.payloads.append(bytes(packet.payload))
        self.answers.append(IcFrame.decode(packet.payload))

    def say(self, payload: bytes, transaction_id: int = 0) -> None:
        self.channel.outgoing.put(PacketType.IN_BAND, payload, transaction_id)
        if self.channel.outgoing.commit():
            self.channel.signal()

    def negotiate(self, *versions: tuple[int, int], frameworks: tuple[tuple[int, int], ...] = ((1, 0), (3, 0))) -> None:
        offered = Negotiate(
            tuple(IcVersion(*framework) for framework in frameworks),
            tuple(IcVersion(*each) for each in versions),
        )
        self.say(IcFrame(IcMessage.NEGOTIATE, offered.encode(), transaction=7).encode(), 99)


def plugged(ram: GuestRam, device: Device, target_cpu: int = 0) -> tuple[Bench, Line]:
    bench = Bench(ram, CPUS, drivers)
    line = bench.plug(device, 0, target_cpu=target_cpu)
    bench.probe(line)
    return bench, line


def driver_of(bench: Bench, cpu: int = 0) -> HvUtils:
    driver: HvUtils = bench.buses[cpu].drivers[0]
    return driver


def version(number: int) -> tuple[int, int]:
    return number >> 16, number & 0xFFFF


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (((1, 0),), (1, 0)),
        (((1, 0), (3, 0)), (3, 0)),
        (((1, 0), (3, 0), (4, 0)), (4, 0)),
        (((3, 0), (4, 1)), (3, 0)),
    ],
)
def test_the_guest_takes_its_own_best_version_that_is_offered(
    offered: tuple[tuple[int, int], ...], chosen: tuple[int, int]
) -> None:
    ours = (IcVersion(4, 0), IcVersion(3, 0), IcVersion(1, 0))
    both = Negotiate((IcVersion(1, 0), IcVersion(3, 0)), tuple(IcVersion(*each) for each in offered))
    assert choose(both, ours) == Negotiate((IcVersion(3, 0),), (IcVersion(*chosen),))


def test_the_answer_is_written_into_the_buffer_of_the_question(ram: GuestRam) -> None:
    """``util_cb`` sends ``recvlen`` bytes back, as a kernel under the same host does: nothing is cut off."""
    host = Host()
    bench, _ = plugged(ram, host)
    host.negotiate((1, 0), (3, 0))
    bench.settle()
    (answer,) = host.payloads
    offered = IcFrame(
        IcMessage.NEGOTIATE, Negotiate((IcVersion(1, 0), IcVersion(3, 0)), (IcVersion(1, 0), IcVersion(3, 0))).encode()
    ).encode()
    assert len(answer) == -(-len(offered) // 8) * 8
    assert answer[:8] == offered[:8]
    assert answer[44 : len(offered)] == offered[44:]


@pytest.mark.parametrize(("frameworks", "messages"), [(((2, 0),), ((3, 0),)), (((3, 0),), ((5, 0),))])
def test_without_a_common_version_of_either_kind_both_counts_are_zero(
    ram: GuestRam, frameworks: tuple[tuple[int, int], ...], messages: tuple[tuple[int, int], ...]
) -> None:
    host = Host()
    bench, line = plugged(ram, host)
    host.negotiate(*messages, frameworks=frameworks)
    bench.settle()
    (answer,) = host.answers
    assert Negotiate.decode(answer.body) == Negotiate((), ())
    assert len(answer.body) == 0x10
    words = line.views[0].state(UtilWords)
    assert (words.framework, words.version, words.answered) == (0, 0, 0)


def test_an_answer_is_the_same_frame_as_a_new_packet_with_the_response_flag(ram: GuestRam) -> None:
    host = Host()
    bench, line = plugged(ram, host)
    host.negotiate((1, 0), (3, 0))
    bench.settle()
    (answer,) = host.answers
    assert host.ids == [99]
    assert answer.flags == IcFlags.TRANSACTION | IcFlags.RESPONSE
    assert (answer.message_type, answer.transaction, answer.status) == (IcMessage.NEGOTIATE, 7, IcStatus.OK)
    assert Negotiate.decode(answer.body) == Negotiate((IcVersion(3, 0),), (IcVersion(3, 0),))
    words = line.views[0].state(UtilWords)
    assert (version(words.framework), version(words.version)) == ((3, 0), (3, 0))


def test_the_heart_beats_on_whatever_cpu_the_channel_interrupts(ram: GuestRam) -> None:
    bench = Bench(ram, CPUS, drivers)
    device = Heartbeat(bench.clock)
    line = bench.plug(device, 0, target_cpu=1)
    bench.probe(line)
    bench.pass_time(6.5)
    assert (device.tally.sent, device.tally.answered, device.tally.missed) == (4, 4, 0)
    for view in line.views:
        words = view.state(HeartbeatWords)
        assert (words.answered, words.sequence) == (4, 5), "every CPU sees the same words"
    bench.lines[1].views[0].words.target_cpu = 0
    bench.pass_time(4)
    assert (device.tally.answered, line.views[1].state(HeartbeatWords).answered) == (6, 6)
    assert line.views[0].words.interrupts == line.signals == 6, "the first beat came while the callback was looking"


def test_a_sequence_wraps_and_the_rest_of_the_body_comes_back_untouched(ram: GuestRam) -> None:
    host = Host()
    bench, _ = plugged(ram, host)
    host.say(IcFrame(IcMessage.HEARTBEAT, b"\xff" * 8 + bytes(range(32))).encode(), 5)
    bench.settle()
    assert host.answers[0].body == bytes(8) + bytes(range(32))


@pytest.mark.parametrize("spoilt", [b"", b"\1\0\0\0", bytes(40), IcFrame(IcMessage.VSS, bytes(40)).encode()])
def test_what_is_no_frame_of_the_service_is_counted_and_not_answered(ram: GuestRam, spoilt: bytes) -> None:
    host = Host()
    bench, line = plugged(ram, host)
    host.say(spoilt)
    bench.settle()
    assert not host.answers
    assert line.views[0].state(UtilWords).rejected == 1


def test_the_guest_sets_its_clock_by_the_host_and_allows_for_the_delay(ram: GuestRam) -> None:
    host = Host(HV_TS_GUID)
    bench, line = plugged(ram, host)
    host.negotiate((4, 0))
    words = line.views[0].state(TimesyncWords)
    bench.clock.time = 5_000
    sync = ic.TimeSync(bench.clock.wall_clock() - 3_000, 2_000, ic.TimeSyncFlags.SYNC)
    host.say(IcFrame(IcMessage.TIMESYNC, sync.encode()).encode())
    bench.settle()
    assert words.host_time == bench.clock.wall_clock()
    assert words.clock_offset == bench.clock.started - EPOCH_1601
    assert (words.answered, words.syncs, words.clock_set) == (1, 1, 1)
    assert host.answers[-1].body == sync.encode()


def test_an_old_host_sends_no_reference_time_and_is_taken_at_its_word(ram: GuestRam) -> None:
    host = Host(HV_TS_GUID)
    bench, line = plugged(ram, host)
    host.negotiate((1, 0), (3, 0))
    bench.clock.time = 5_000
    sync = ic.TimeSyncV1(bench.clock.wall_clock(), 0, 0, ic.TimeSyncFlags.SYNC)
    host.say(IcFrame(IcMessage.TIMESYNC, sync.encode()).encode())
    bench.settle()
    assert line.views[0].state(TimesyncWords).clock_offset == bench.clock.started - EPOCH_1601


def test_samples_inform_and_do_not_set_the_clock_and_grow_stale(ram: GuestRam) -> None:
    bench = Bench(ram, CPUS, drivers)
    device = TimeSync(bench.clock)
    line = bench.plug(device, 0)
    bench.probe(line)
    words = line.views[1].state(TimesyncWords)
    assert (words.syncs, words.clock_set) == (1, 1)
    bench.pass_time(15)
    assert (words.answered, words.syncs, words.clock_set) == (4, 1, 1)
    now = bench.clock.now()
    assert adjusted_host_time(words, now + 70) == bench.clock.wall_clock() + 70
    assert adjusted_host_time(words, now + SAMPLE_TIMEOUT + 1) is None


@pytest.mark.parametrize(
    ("flags", "action"),
    [
        (ShutdownFlags(0), PowerAction.POWER_OFF),
        (ShutdownFlags.FORCE, PowerAction.POWER_OFF),
        (ShutdownFlags.RESTART | ShutdownFlags.FORCE, PowerAction.RESTART),
    ],
)
def test_a_shutdown_is_answered_before_it_is_begun(ram: GuestRam, flags: ShutdownFlags, action: PowerAction) -> None:
    bench = Bench(ram, CPUS, drivers)
    device = Shutdown(bench.clock)
    line = bench.plug(device, 0, target_cpu=1)
    bench.probe(line)
    events: list[object] = []

    async def power(action: PowerAction) -> None:
        events.append(action)

    driver_of(bench, 1).shutdown.power = power
    device.request_shutdown(events.append, flags)
    bench.settle()
    assert events == [IcStatus.OK, action]
    words = line.views[0].state(ShutdownWords)
    assert (words.answered, words.accepted, words.action) == (1, 1, action + 1)


@pytest.mark.parametrize("flags", [4, 5, 6, 0xFFFF_FFFF])
def test_what_the_guest_cannot_do_is_refused(ram: GuestRam, flags: int) -> None:
    host = Host(HV_SHUTDOWN_GUID)
    bench, line = plugged(ram, host)
    host.say(IcFrame(IcMessage.SHUTDOWN, ic.Shutdown(flags=flags).encode()).encode())
    bench.settle()
    assert host.answers[0].status == IcStatus.FAIL
    words = line.views[0].state(ShutdownWords)
    assert (words.answered, words.accepted) == (1, 0)


def test_hibernation_is_done_where_it_is_supported(ram: GuestRam) -> None:
    bench = Bench(ram, CPUS, drivers)
    device = Shutdown(bench.clock)
    bench.probe(bench.plug(device, 0))
    driver_of(bench).shutdown.hibernation_supported = True
    answers: list[int | None] = []
    device.request_shutdown(answers.append, ShutdownFlags.HIBERNATE)
    bench.settle()
    assert answers == [IcStatus.OK]
