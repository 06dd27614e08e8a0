"""The pump: what it takes, when it stops taking, and how often it signals."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vsp.device import Offer, VspChannel
from host.vsp.endpoint import BATCH, Endpoint
from host.vsp.testing import Clock, Loopback
from protocol.errors import OperatorError, PeerError
from protocol.ring import Packet, PacketType
from protocol.ring.memory import INTERRUPT_MASK, PENDING_SEND_SZ, READ_INDEX, WRITE_INDEX
from protocol.shell.memory import GuestRam
from protocol.wire.guids import HV_SCSI_GUID

IN_BAND = PacketType.IN_BAND


class Echo:
    """A device that sends every packet back with what it was told to add."""

    offer = Offer(HV_SCSI_GUID, HV_SCSI_GUID)

    def __init__(self, appetite: Callable[[], int] | None = None) -> None:
        self.clock = Clock()
        self.taken: list[int] = []
        self.appetite = appetite
        self.endpoint: Endpoint

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        appetite = self.appetite or (lambda: BATCH)
        self.endpoint = Endpoint(channel, self.take, self.clock.complain, appetite, self.clock.journal)
        self.endpoint.look()

    def take(self, packet: Packet) -> None:
        self.taken.append(packet.transaction_id)
        if packet.transaction_id == 13:
            raise PeerError("thirteen")
        self.endpoint.post(PacketType.COMPLETION, bytes(packet.payload), packet.transaction_id)

    def close(self, done: Callable[[], None]) -> None:
        self.endpoint.close()
        done()

    def doorbell(self) -> None:
        self.endpoint.look()

    def counts(self) -> dict[str, int]:
        return {}


def opened(ram: GuestRam, device: Echo, *, up_pages: int = 8, down_pages: int = 8) -> Loopback:
    channel = Loopback(ram, range(1, 2 + up_pages), range(20, 21 + down_pages))
    channel.open(device)
    return channel


def requests(count: int, size: int = 16, first: int = 100) -> list[tuple[int, bytes, int, int, bytes]]:
    return [(IN_BAND, bytes(size), first + number, 1, b"") for number in range(count)]


def test_a_burst_is_answered_in_order_with_one_signal(ram: GuestRam) -> None:
    channel = opened(ram, Echo())
    channel.send_all(requests(20))
    assert (channel.doorbells, channel.signals) == (1, 1)
    assert [packet.transaction_id for packet in channel.receive()] == list(range(100, 120))


def test_the_journal_has_both_directions_of_a_packet_but_not_all_of_a_long_one(ram: GuestRam) -> None:
    device, written = Echo(), []
    device.clock.journal = lambda event, *fields: written.append((event, *fields))
    channel = opened(ram, device)
    long = bytes(range(96))
    channel.send(IN_BAND, long, 100, flags=1)
    assert written == [("packet", 1, "->", 6, 1, long[:80]), ("packet", 1, "<-", 11, 0, long[:80])]


def test_a_guest_that_has_not_read_yet_is_not_signalled_again(ram: GuestRam) -> None:
    channel = opened(ram, Echo())
    channel.send_all(requests(1))
    channel.send_all(requests(1))
    assert channel.signals == 1
    channel.receive()
    channel.send_all(requests(1))
    assert channel.signals == 2


def test_a_masked_guest_is_not_signalled(ram: GuestRam) -> None:
    channel = opened(ram, Echo())
    channel.downstream.control[INTERRUPT_MASK] = 1
    channel.send_all(requests(3))
    assert channel.signals == 0
    assert len(channel.receive()) == 3


def test_after_a_look_the_guest_is_asked_to_signal_again(ram: GuestRam) -> None:
    channel = opened(ram, Echo())
    for _ in range(5):
        channel.send_all(requests(2))
        assert channel.upstream.control[INTERRUPT_MASK] == 0
    assert channel.doorbells == 5


def test_what_arrives_while_the_handler_runs_needs_no_second_doorbell(ram: GuestRam) -> None:
    class Busy(Echo):
        def take(self, packet: Packet) -> None:
            if packet.transaction_id == 1:
                channel.send(IN_BAND, b"", 2)
            super().take(packet)

    device = Busy()
    channel = opened(ram, device)
    channel.send(IN_BAND, b"", 1)
    assert device.taken == [1, 2]
    assert channel.doorbells == 1


def test_packets_that_lie_in_the_ring_at_open_are_taken_then(ram: GuestRam) -> None:
    device = Echo()
    channel = Loopback(ram, range(1, 4), range(20, 23))
    channel.guest_writer.put(IN_BAND, b"", 7)
    channel.guest_writer.commit()
    channel.open(device)
    assert device.taken == [7]


def test_more_than_a_batch_is_published_in_batches(ram: GuestRam) -> None:
    seen: list[int] = []

    class Watching(Echo):
        def take(self, packet: Packet) -> None:
            seen.append((channel.downstream.write_index() - channel.downstream.read_index()) // 40)
            super().take(packet)

    channel = opened(ram, Watching())
    channel.send_all(requests(2 * BATCH))
    assert set(seen) == {0, BATCH}
    assert channel.signals == 1


def test_answers_without_room_wait_and_stop_the_intake_until_the_guest_reads(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device, up_pages=8, down_pages=1)
    total = 300
    channel.send_all(requests(total))
    assert len(device.taken) < total, "a full ring must push back"
    assert channel.downstream.control[PENDING_SEND_SZ] == 40
    received: list[int] = []
    while packets := channel.receive():
        received.extend(packet.transaction_id for packet in packets)
    assert received == list(range(100, 100 + total))
    assert channel.downstream.control[PENDING_SEND_SZ] == 0


def test_room_that_a_post_finds_before_the_guest_signals_restarts_the_intake(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device, down_pages=1)
    channel.send_all(requests(200))
    assert len(device.taken) == 2 * BATCH, "stopped by its backlog"
    channel.guest_reader.drain(lambda packet: None)
    channel.downstream.control[PENDING_SEND_SZ] = 0  # the post does this between the guest's store and its load
    assert not channel.guest_reader.release()
    device.endpoint.post(IN_BAND, b"", 1)
    assert len(device.taken) == 200
    assert channel.doorbells == 1


def test_a_small_packet_does_not_overtake_a_large_one_that_waits_for_room(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device, down_pages=1)
    for number, size in enumerate((3000, 2000, 8, 8)):
        device.endpoint.post(IN_BAND, bytes(size), number)
    assert device.endpoint.congested
    received: list[int] = []
    while packets := channel.receive():
        received.extend(packet.transaction_id for packet in packets)
    assert received == [0, 1, 2, 3]


def test_a_device_without_appetite_leaves_packets_in_the_ring_until_it_looks_again(ram: GuestRam) -> None:
    hunger = [2]
    device = Echo(lambda: max(0, hunger[0] - len(device.taken)))
    channel = opened(ram, device)
    channel.send_all(requests(5))
    assert device.taken == [100, 101]
    channel.send_all(requests(1, first=200))
    assert channel.doorbells == 1, "the ring stays masked: only the device knows when to go on"
    hunger[0] = 100
    device.endpoint.look()
    assert device.taken == [100, 101, 102, 103, 104, 200]
    channel.send_all(requests(1))
    assert channel.doorbells == 2


def test_a_guest_that_waits_for_room_is_signalled_when_there_is_some(ram: GuestRam) -> None:
    hunger = [0]
    device = Echo(lambda: hunger[0])
    channel = opened(ram, device, up_pages=1)
    channel.send_all(requests(100))
    assert not channel.guest_writer.want(400)
    hunger[0] = BATCH
    channel.downstream.control[INTERRUPT_MASK] = 1
    device.endpoint.look()
    assert channel.signals == 1, "interrupt_mask does not silence this one"


def test_a_peer_error_costs_one_packet_and_no_more(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device)
    channel.send_all(requests(5, first=11))
    assert device.taken == [11, 12, 13, 14, 15]
    assert [packet.transaction_id for packet in channel.receive()] == [11, 12, 14, 15]
    assert [str(error) for error in device.clock.complaints] == ["thirteen"]


@pytest.mark.parametrize("ring", ["upstream", "downstream"])
@pytest.mark.parametrize("word", [READ_INDEX, WRITE_INDEX])
@pytest.mark.parametrize("value", [4, 0xFFFF_FFF8])
def test_a_corrupt_index_ends_the_channel_with_one_complaint(ram: GuestRam, ring: str, word: int, value: int) -> None:
    device = Echo()
    channel = opened(ram, device)
    getattr(channel, ring).control[word] = value
    for _ in range(3):
        device.doorbell()
        device.endpoint.post(PacketType.COMPLETION, b"", 1)
    assert len(device.clock.complaints) == 1


def test_a_corrupt_packet_ends_the_channel_after_those_before_it(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device)
    for transaction_id in (1, 2):
        channel.guest_writer.put(IN_BAND, b"", transaction_id)
    channel.upstream.data[24] = 0x55
    channel.guest_writer.commit()
    device.doorbell()
    assert device.taken == [1]
    assert len(device.clock.complaints) == 1
    channel.send(IN_BAND, b"", 3)
    assert device.taken == [1]


def test_a_packet_that_no_ring_of_this_size_can_hold_is_complained_about(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device, down_pages=1)
    device.endpoint.post(IN_BAND, bytes(5000))
    assert isinstance(device.clock.complaints[0], OperatorError)
    assert not channel.receive()


def test_nothing_touches_the_rings_after_close(ram: GuestRam) -> None:
    device = Echo()
    channel = opened(ram, device, down_pages=1)
    channel.send_all(requests(300))
    device.close(lambda: None)
    before = bytes(ram.bytes)
    device.doorbell()
    device.endpoint.post(PacketType.COMPLETION, b"", 1)
    assert bytes(ram.bytes) == before


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 900)), max_size=60))
def test_whatever_the_rhythm_every_packet_is_answered_once_and_in_order(
    ram: GuestRam, steps: list[tuple[int, int, int]]
) -> None:
    device = Echo()
    channel = opened(ram, device, up_pages=2, down_pages=1)
    sent, next_id = 0, 1000
    received: list[int] = []
    for writes, reads, size in steps:
        for _ in range(writes):
            if not channel.guest_writer.put(IN_BAND, bytes(size), next_id, 1):
                break
            next_id += 1
            sent += 1
        if channel.guest_writer.commit():
            channel.ring_doorbell()
        received.extend(packet.transaction_id for packet in channel.receive(reads))
    while packets := channel.receive():
        received.extend(packet.transaction_id for packet in packets)
    assert received == list(range(1000, 1000 + sent))
    assert not device.clock.complaints
