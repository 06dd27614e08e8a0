"""netvsc on one channel against the real netvsp: set-up and its failures, full rings, and what a host must not send."""

from __future__ import annotations

import errno

import pytest

from guest.drivers.netvsc.driver import Netvsc
from guest.drivers.netvsc.words import RECEIVE_COMPLETIONS, SLOTS
from guest.net.device import ABSENT, GONE, REGISTERED
from guest.vmbus.errors import VmbusError
from protocol.ids import PAGE_SIZE
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.ring.transfer_pages import TransferRange, encode
from protocol.shell.memory import GuestRam
from protocol.wire.nvsp import RndisPacket, RndisPacketComplete
from protocol.wire.nvsp_numbers import RECEIVE_BUFFER_ID, ChannelType, NvspStatus, NvspVersion
from protocol.wire.rndis_packet import packet_header
from tests.guest_drivers.network import MAC, NetMachine, SmallNetvsc, frame

DATA = RndisPacket(ChannelType.DATA).encode()


def running(ram: GuestRam, driver: type[Netvsc] = SmallNetvsc) -> NetMachine:
    machine = NetMachine(ram, driver=driver)
    machine.probe()
    machine.up()
    return machine


# --- set-up and the way back ------------------------------------------------------------------------------------------


def test_a_probe_finds_out_what_the_host_says_of_the_nic(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    machine.probe()
    words, nic = machine.words, machine.driver(1)
    assert (words.state, words.running, words.carrier, words.mtu) == (REGISTERED, 0, 1, 1500)
    assert machine.device().address == MAC
    assert words.alias == "nic0"
    assert (words.queues, words.attached) == (1, 1)
    assert nic.devices[0].words.relid == 1, "every CPU sees it"


def test_up_and_down_change_the_packet_filter_and_each_begins_an_epoch(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    machine.probe()
    for cpu in (0, 1, 0):
        machine.up(cpu)
        assert machine.transmit(frame(cpu), cpu)
        machine.bench.settle()
        before = machine.words.epoch
        machine.down(cpu)
        assert (machine.words.running, machine.words.epoch) == (0, before + 1)
    assert [data for _, _, data in machine.received] == [frame(0), frame(1), frame(0)]


def test_everything_is_given_back_when_the_device_goes(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    free = machine.free_pages()
    for _ in range(3):
        machine.probe()
        machine.up()
        assert machine.transmit(frame(1))
        machine.bench.settle()
        machine.remove()
        assert machine.free_pages() == free
        assert not machine.line.gpadls
        assert (machine.words.state, machine.words.running) == (GONE, 0)
    assert machine.words.registrations == 3


def test_a_host_that_speaks_no_version_has_no_nic_for_this_guest(ram: GuestRam) -> None:
    machine = NetMachine(ram, version=NvspVersion(2))
    machine.host._max_version = 1  # type: ignore[assignment]
    free = machine.free_pages()
    with pytest.raises(VmbusError) as failure:
        machine.probe()
    assert failure.value.errno == errno.EPROTO
    assert (machine.words.state, machine.words.relid, machine.free_pages()) == (ABSENT, 0, free)


def test_a_rescind_ends_a_wait_for_an_answer_that_never_comes(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    free = machine.free_pages()
    machine.line.deaf = True
    failures: list[int | None] = []

    async def probe() -> None:
        try:
            await machine.driver().probe(machine.line.views[0].device)
        except VmbusError as error:
            failures.append(error.errno)

    machine.bench.cores[0].sched.spawn(probe(), "probe")
    machine.bench.pass_time(5)
    assert not failures, "it waits for as long as the host likes"
    machine.line.views[0].words.rescind = 1
    machine.bench.pass_time(1)
    assert failures == [errno.ENODEV]
    assert machine.free_pages() == free


def test_frames_under_way_when_the_nic_is_rescinded_are_forgotten_with_their_pages(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    free = machine.free_pages()
    machine.probe()
    machine.up()
    machine.line.deaf = True
    for number in range(10):  # more than there are sections
        assert machine.transmit(frame(number))
    assert machine.queue.queue_sends == 10
    machine.line.views[0].words.rescind = 1
    machine.remove()
    assert machine.free_pages() == free


def test_a_frame_of_an_earlier_epoch_is_dropped(ram: GuestRam) -> None:
    machine = running(ram)
    before = machine.words.epoch
    machine.down()
    assert machine.transmit(frame(1), epoch=before)
    machine.up()
    assert machine.transmit(frame(2), epoch=before)
    machine.bench.settle()
    assert not machine.received
    assert machine.stats.tx_dropped == 2


def test_the_carrier_follows_the_cable(ram: GuestRam) -> None:
    machine = running(ram)
    for connected in (False, True, False):
        machine.host.set_link(connected)
        machine.bench.settle()
        assert machine.words.carrier == connected


# --- full -------------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_into_sections_goes_from_pages_of_its_own(ram: GuestRam) -> None:
    machine = running(ram)
    with machine.deaf():
        for number in range(9):
            assert machine.transmit(frame(number, 60 + 150 * number), number % 2)
    assert [data for _, _, data in machine.received] == [frame(number, 60 + 150 * number) for number in range(9)]
    assert machine.queue.sent_in_sections >= 4
    assert machine.queue.sent_in_sections + machine.queue.sent_in_pages == 9
    assert machine.queue.sent_in_pages > 0


class TinyRings(SmallNetvsc):
    ring_pages = 2


@pytest.mark.parametrize("driver", [TinyRings, SmallNetvsc], ids=["ring", "slots"])
def test_a_full_queue_stops_its_senders_until_the_host_has_looked_and_nothing_is_lost(
    ram: GuestRam, driver: type[Netvsc]
) -> None:
    machine = running(ram, driver)
    each, sent = 2 * SLOTS, [0, 0]

    async def send(cpu: int) -> None:
        device = machine.device(cpu)
        for number in range(each):
            while not machine.transmit(frame(number), cpu):
                await device.woken[0].wait_event(lambda: not device.queues[0].stopped)
            sent[cpu] += 1

    with machine.deaf():
        for cpu in (0, 1):
            machine.bench.cores[cpu].sched.spawn(send(cpu), "send")
        machine.bench.settle()
        assert machine.stats.stopped
        assert sum(sent) <= SLOTS
    assert sent == [each, each]
    assert not machine.stats.stopped
    assert len(machine.received) == 2 * each
    assert machine.queue.queue_sends == 0


def test_answers_that_find_no_room_are_kept_and_the_host_is_silenced_until_there_is_some(ram: GuestRam) -> None:
    machine = running(ram, TinyRings)
    message = packet_header(60) + frame(0, 60)
    start = machine.driver().nics.of(machine.line.views[0]).words.recv_pfn * PAGE_SIZE
    ram.bytes[start : start + len(message)] = message
    header = encode(RECEIVE_BUFFER_ID, [TransferRange(len(message), 0)])
    queue, sent = machine.queue, 0
    with machine.deaf():
        while machine.line.outgoing.put(PacketType.TRANSFER_PAGES, DATA, 5000 + sent, COMPLETION_REQUESTED, header):
            if machine.line.outgoing.commit():
                machine.line.signal()
            machine.bench.settle()
            sent += 1
        assert 0 < queue.owed_next - queue.owed_first < RECEIVE_COMPLETIONS
        assert queue.owed_next < sent
    assert queue.owed_next == queue.owed_first
    assert len(machine.received) == sent
    assert machine.stats.rx_frames == sent


# --- a host that errs -------------------------------------------------------------------------------------------------


def answers(machine: NetMachine) -> list[tuple[int, int]]:
    """What the guest writes to the host from now on: (transaction id, status)."""
    seen: list[tuple[int, int]] = []
    machine.line.incoming.drain(
        lambda packet: seen.append((packet.transaction_id, RndisPacketComplete.decode(packet.payload).status))
    )
    machine.line.incoming.release()
    return seen


def test_a_range_outside_of_the_receive_buffer_fails_its_packet(ram: GuestRam) -> None:
    machine = running(ram)
    machine.line.deaf = True
    end = SmallNetvsc.recv_bytes
    for id, ranges in enumerate([(100, end), (100, end - 50), (1 << 20, 0), (0, 0)]):
        header = encode(RECEIVE_BUFFER_ID, [TransferRange(*ranges)])
        machine.from_host(PacketType.TRANSFER_PAGES, DATA, 100 + id, COMPLETION_REQUESTED, header)
    assert answers(machine) == [(100 + id, NvspStatus.FAIL) for id in range(4)]
    assert machine.queue.malformed == 4
    assert not machine.received


@pytest.mark.parametrize(
    ("type", "payload", "header"),
    [
        (PacketType.TRANSFER_PAGES, DATA, encode(0xBEEF, [TransferRange(60, 0)])),
        (PacketType.TRANSFER_PAGES, DATA, bytes(8)[:0]),
        (PacketType.TRANSFER_PAGES, RndisPacketComplete(1).encode(), encode(RECEIVE_BUFFER_ID, [])),
        (PacketType.TRANSFER_PAGES, b"", encode(RECEIVE_BUFFER_ID, [])),
        (PacketType.COMPLETION, b"", b""),
        (PacketType.COMPLETION, DATA, b""),
        (PacketType.IN_BAND, b"\x86\0\0\0" + bytes(36), b""),
    ],
    ids=["page set", "no header", "not RNDIS", "no NVSP", "empty completion", "strange completion", "send table"],
)
def test_a_packet_that_makes_no_sense_is_counted_and_the_next_is_taken(
    ram: GuestRam, type: int, payload: bytes, header: bytes
) -> None:
    machine = running(ram)
    machine.from_host(type, payload, 4711, header=header)
    assert (machine.queue.malformed, machine.queue.unknown) == (1, 0)
    assert machine.transmit(frame(1))
    machine.bench.settle()
    assert len(machine.received) == 1


def test_completions_of_nothing_are_ignored(ram: GuestRam) -> None:
    machine = running(ram)
    with machine.deaf():
        assert machine.transmit(frame(1))
        done = RndisPacketComplete(NvspStatus.SUCCESS).encode()
        for id in (0, 2, SLOTS, SLOTS + 1, 1 << 63, (1 << 64) - 1):
            machine.from_host(PacketType.COMPLETION, done, id)
        assert (machine.queue.unknown, machine.queue.queue_sends) == (6, 1)
        machine.from_host(PacketType.COMPLETION, done, 1)
        machine.from_host(PacketType.COMPLETION, done, 1)
        assert (machine.queue.unknown, machine.queue.queue_sends) == (7, 0)


def test_a_ring_that_the_host_has_corrupted_is_left_alone_and_the_nic_can_still_be_removed(ram: GuestRam) -> None:
    machine = NetMachine(ram)
    free = machine.free_pages()
    machine.probe()
    machine.up()
    machine.line.deaf = True
    assert machine.transmit(frame(1))
    channel = machine.line.views[0]
    ring = ram.ring(range(channel.words.ring_pfn + channel.words.send_pages, channel.words.ring_pfn + 16))
    ring.control[0] = 12345
    machine.line.signal()
    machine.bench.settle()
    assert not channel.words.callback
    assert "stopped" in machine.bench.buses[1].log[-1]
    channel.words.rescind = 1
    machine.remove()
    assert machine.free_pages() == free


def test_a_sender_that_finds_the_ring_corrupted_drops_its_frame_and_the_nic_can_still_be_taken_down(
    ram: GuestRam,
) -> None:
    machine = NetMachine(ram)
    free = machine.free_pages()
    machine.probe()
    machine.up()
    machine.line.deaf = True
    channel = machine.line.views[0]
    ram.ring(range(channel.words.ring_pfn, channel.words.ring_pfn + channel.words.send_pages)).control[1] = 12345
    assert machine.transmit(frame(1))
    assert (machine.stats.tx_dropped, channel.words.callback) == (1, 0)
    machine.down()
    machine.remove()
    assert machine.free_pages() == free
