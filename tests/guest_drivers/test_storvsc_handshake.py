"""How storvsc and its host agree, with hosts that answer as the test says."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from guest.drivers.storvsc.handshake import Agreed, channel_init
from guest.vmbus.errors import VmbusError
from host.vsp.device import Offer, VspChannel
from protocol.ring import Packet, PacketType
from protocol.shell.memory import GuestRam
from protocol.wire.guids import HV_SCSI_GUID
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import (
    SUPPORTS_MULTI_CHANNEL,
    VERSIONS,
    Operation,
    Properties,
    ProtocolVersion,
    VstorPacket,
)
from tests.guest_drivers.bench import instance
from tests.guest_drivers.storage import FIRST, Machine, image

Answer = Callable[[VstorPacket], VstorPacket]


def good(packet: VstorPacket) -> VstorPacket:
    """A host that accepts everything."""
    properties = Properties(3, SUPPORTS_MULTI_CHANNEL, 0x40000 + 100)
    body = properties.encode() if packet.operation == Operation.QUERY_PROPERTIES else b""
    return VstorPacket(Operation.COMPLETE_IO, body=body)


def refusing(operation: Operation, status: NtStatus = NtStatus.INVALID_DEVICE_STATE) -> Answer:
    def answer(packet: VstorPacket) -> VstorPacket:
        return VstorPacket(Operation.COMPLETE_IO, 0, status) if packet.operation == operation else good(packet)

    return answer


def knowing(*versions: int) -> Answer:
    def answer(packet: VstorPacket) -> VstorPacket:
        if packet.operation != Operation.QUERY_PROTOCOL_VERSION:
            return good(packet)
        known = ProtocolVersion.decode(packet.body).version in versions
        return VstorPacket(Operation.COMPLETE_IO, 0, NtStatus.SUCCESS if known else NtStatus.REVISION_MISMATCH)

    return answer


def negotiate(answer: Answer) -> tuple[Agreed, list[int]]:
    """What is agreed on, and the operations sent."""
    sent: list[int] = []

    async def exchange(packet: VstorPacket) -> VstorPacket:
        sent.append(packet.operation)
        return answer(packet)

    return finished(channel_init(exchange)), sent


def finished(work: Coroutine[Any, Any, Agreed]) -> Agreed:
    with pytest.raises(StopIteration) as stop:
        work.send(None)
    agreed: Agreed = stop.value.value
    return agreed


def test_four_steps_in_order_and_limits_in_whole_pages() -> None:
    agreed, sent = negotiate(good)
    assert agreed == Agreed(0x0602, 0x40000, 3)
    assert sent == [
        Operation.BEGIN_INITIALIZATION,
        Operation.QUERY_PROTOCOL_VERSION,
        Operation.QUERY_PROPERTIES,
        Operation.END_INITIALIZATION,
    ]


@pytest.mark.parametrize(("known", "tries"), [((0x0602,), 1), ((0x0600, 0x0501), 2), ((0x0501,), 3)])
def test_versions_are_tried_from_the_newest_down(known: tuple[int, ...], tries: int) -> None:
    agreed, sent = negotiate(knowing(*known))
    assert agreed.version == max(known)
    assert sent.count(Operation.QUERY_PROTOCOL_VERSION) == tries


def test_sub_channels_count_only_if_multi_channel_is_announced() -> None:
    def answer(packet: VstorPacket) -> VstorPacket:
        if packet.operation == Operation.QUERY_PROPERTIES:
            return VstorPacket(Operation.COMPLETE_IO, body=Properties(3, 0, 0x10000).encode())
        return good(packet)

    assert negotiate(answer)[0].sub_channels == 0


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (refusing(Operation.BEGIN_INITIALIZATION), errno.EINVAL),
        (refusing(Operation.QUERY_PROPERTIES), errno.EINVAL),
        (refusing(Operation.END_INITIALIZATION), errno.EINVAL),
        (knowing(), errno.ENODEV),
        (lambda packet: VstorPacket(Operation.ENUMERATE_BUS), errno.EINVAL),
    ],
)
def test_a_refusal_ends_it(answer: Answer, number: int) -> None:
    with pytest.raises(VmbusError) as failure:
        negotiate(answer)
    assert failure.value.errno == number


class Silent:
    """A controller that never answers, and has something to say itself."""

    def __init__(self) -> None:
        self.offer = Offer(HV_SCSI_GUID, instance(9))
        self.packets: list[Packet] = []
        self.closed = False
        self.channel: VspChannel

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self.channel = channel

    def close(self, done: Callable[[], None]) -> None:
        self.closed = True
        done()

    def doorbell(self) -> None:
        self.channel.incoming.drain(self.packets.append)
        self.channel.incoming.release()

    def counts(self) -> dict[str, int]:
        return {}

    def say(self, payload: bytes, transaction_id: int) -> None:
        self.channel.outgoing.put(PacketType.COMPLETION, payload, transaction_id)
        if self.channel.outgoing.commit():
            self.channel.signal()


def test_a_silent_host_is_given_five_seconds_and_leaves_nothing_behind(ram: GuestRam) -> None:
    machine = Machine(ram)
    host = Silent()
    line = machine.bench.plug(host, 0)
    free = machine.bench.cores[0].pages.free_pages()
    outcome: list[OSError] = []

    async def probe() -> None:
        try:
            await machine.driver().probe(line.views[0].device)
        except OSError as error:
            outcome.append(error)

    machine.bench.cores[0].sched.spawn(probe(), "probe")
    machine.bench.settle()
    machine.bench.pass_time(4.9)
    assert not outcome
    assert [packet.transaction_id for packet in host.packets] == [(1 << 64) - 3]
    machine.bench.pass_time(0.2)
    assert [error.errno for error in outcome] == [errno.ETIMEDOUT]
    assert host.closed
    assert machine.bench.cores[0].pages.free_pages() == free
    del machine.bench.lines[1]
    machine.attach({FIRST: image()}, relid=2)
    assert machine.words(2).host_no == 0, "the number is free again"


def test_a_handshake_with_a_host_that_takes_the_channel_back_ends_at_once(ram: GuestRam) -> None:
    machine = Machine(ram)
    line = machine.bench.plug(Silent(), 0)
    outcome: list[OSError] = []

    async def probe() -> None:
        try:
            await machine.driver().probe(line.views[0].device)
        except OSError as error:
            outcome.append(error)

    machine.bench.cores[0].sched.spawn(probe(), "probe")
    machine.bench.settle()
    line.views[0].words.rescind = 1
    machine.driver().rescinded(line.views[0])
    machine.bench.settle()
    assert [error.errno for error in outcome] == [errno.ENODEV]


def test_the_answer_may_come_to_another_cpu_than_the_one_that_probes(ram: GuestRam) -> None:
    machine = Machine(ram)
    line = machine.attach({FIRST: image()}, target_cpu=1)
    words = machine.device()
    assert (words.version, words.max_transfer) == (VERSIONS[0], 0x40000)
    assert line.views[0].irq_name == "pri@storvsc0"
    assert line.views[0].words.send_pages == line.views[0].words.ring_pages - 32 == 32
    assert machine.bench.calls > 0


@pytest.mark.parametrize(
    ("payload", "id", "count"),
    [
        (bytes(56), 5, "malformed"),
        (bytes(64), 5, "unknown"),
        (bytes(64), (1 << 64) - 4, "unknown"),
        (bytes(64), 1 << 40, "unknown"),
        (VstorPacket(Operation.COMPLETE_IO).encode(), 0, "malformed"),
        (VstorPacket(Operation.ENUMERATE_BUS).encode(), 0, "unsolicited"),
        (b"", 0, "malformed"),
    ],
)
def test_what_nobody_asked_for_is_counted_and_dropped(ram: GuestRam, payload: bytes, id: int, count: str) -> None:
    machine = Machine(ram)
    host = Silent()
    line = machine.bench.plug(host, 0)
    machine.bench.cores[0].sched.spawn(machine.driver().probe(line.views[0].device), "probe")
    machine.bench.settle()
    host.say(payload, id)
    machine.bench.settle()
    words = machine.words()
    assert {name: getattr(words, name) for name in ("malformed", "unknown", "unsolicited")} == {
        "malformed": 0,
        "unknown": 0,
        "unsolicited": 0,
        count: 1,
    }
