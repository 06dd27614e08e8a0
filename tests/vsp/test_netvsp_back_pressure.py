"""What happens when the guest has no receive buffers left, or a full ring: the network waits, and nobody loses."""

from dataclasses import dataclass, field

from host.vsp.net.backend import Frames, Port
from host.vsp.net.echo import Echo
from protocol.ring import COMPLETION_REQUESTED, PacketType, ring_bytes, transfer_pages
from protocol.ring.memory import PENDING_SEND_SZ
from protocol.ring.transfer_pages import TransferRange
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.ndis import Oid
from protocol.wire.nvsp_numbers import MESSAGE_SIZE, RECEIVE_BUFFER_ID, ChannelType, NvspStatus
from tests.vsp.netvsc import MAC, PEER, NetVsc, back, frame, message


def test_a_guest_that_keeps_its_buffers_gets_no_more_until_it_gives_some_back(ram: GuestRam) -> None:
    vsc = NetVsc(ram, patient=True).ready()
    room = vsc.sub_allocs - 16
    for number in range(room + 20):
        assert vsc.send_section(0, message(frame(number.to_bytes(4, "big")))) == NvspStatus.SUCCESS
    held = list(vsc.received)
    assert sum(len(each.frames) for each in held) == room
    assert vsc.device.counts()["echo_held"] == 20
    assert vsc.device.counts()["waits"] == 1
    places = [bytes(each.messages[0]) for each in held]
    for each in held[:5]:
        vsc.release(each)
    vsc.take()
    assert vsc.device.counts()["echo_held"] == 15
    assert [each.messages[0] for each in held] == places, "what the guest holds is not overwritten"
    vsc.patient = False
    for each in held[5:]:
        vsc.release(each)
    vsc.take()
    vsc.take()
    numbers = [int.from_bytes(each[14:18], "big") for each in vsc.frames()]
    assert numbers == list(range(room + 20)), "in order, and none is lost"


def test_control_messages_are_answered_while_frames_take_every_other_buffer(ram: GuestRam) -> None:
    vsc = NetVsc(ram, patient=True).ready()
    while vsc.device.nic.deliver([frame(b"flood", PEER, MAC)]):
        vsc.take()
    assert vsc.query(Oid.ADDRESS_802_3_PERMANENT) == (0, MAC)


def test_more_answers_than_control_buffers_wait_their_turn(ram: GuestRam) -> None:
    vsc = NetVsc(ram, patient=True).ready()
    for up in range(20):
        vsc.device.set_link(bool(up % 2))
        vsc.take()
    taken = len(vsc.received)
    assert taken == 16
    for each in vsc.received[:taken]:
        vsc.release(each)
    vsc.take()
    assert len(vsc.received) == 20


def test_a_full_ring_makes_the_network_wait_and_not_the_guest_lose(ram: GuestRam) -> None:
    vsc = NetVsc(ram).ready()
    nic = vsc.device.nic
    backend = vsc.backend
    assert isinstance(backend, Echo)
    waiting = [frame(n.to_bytes(2, "big"), MAC, PEER) for n in range(100)]
    for each in waiting:
        backend.transmit([each], 0)
    assert backend.counts()["echo_held"] > 0
    assert nic.channels[0].congested
    assert nic.receive_buffer and nic.receive_buffer.free, "the ring is what is full"
    one_frame = len(transfer_pages.encode(RECEIVE_BUFFER_ID, [TransferRange(0, 0)])) + MESSAGE_SIZE
    assert vsc.channels[0].downstream.control[PENDING_SEND_SZ] == ring_bytes(one_frame)
    while backend.counts()["echo_held"]:
        vsc.take()
    vsc.take()
    assert vsc.frames() == list(map(back, waiting))


@dataclass
class Source:
    """A back end that has frames for the guest, and keeps what it cannot deliver."""

    port: Port | None = None
    waiting: list[bytes] = field(default_factory=list)

    def connect(self, port: Port) -> None:
        self.port = port

    def transmit(self, frames: Frames, queue: int) -> None:
        """They go nowhere."""

    def resume(self) -> None:
        assert self.port is not None
        del self.waiting[: self.port.deliver(self.waiting)]

    def counts(self) -> dict[str, int]:
        return {}


def with_full_ring(ram: GuestRam) -> tuple[NetVsc, Source]:
    """A guest that has sent and sent, and never taken a completion; and a frame that waits for it."""
    source = Source()
    vsc = NetVsc(ram, backend=source).ready()
    data = message(frame(b"out"))
    assert vsc.send_section(0, data) == NvspStatus.SUCCESS
    channel = vsc.channels[0]
    while not vsc.device.congested:
        request = nvsp.RndisPacket(ChannelType.DATA, 0, len(data)).encode()
        channel.send(PacketType.IN_BAND, request, 1, COMPLETION_REQUESTED)
    source.waiting = [frame(b"in", PEER, MAC)]
    source.resume()
    assert source.waiting
    return vsc, source


def test_a_frame_that_waited_for_completions_to_be_taken_is_delivered_then(ram: GuestRam) -> None:
    vsc, source = with_full_ring(ram)
    vsc.take()
    assert not source.waiting
    vsc.take()
    assert vsc.frames() == [frame(b"in", PEER, MAC)]


def test_the_network_goes_on_also_when_the_host_finds_the_room_by_itself(ram: GuestRam) -> None:
    """By another packet, before the guest's signal: then pending_send_sz is taken back, and no signal may come."""
    vsc, source = with_full_ring(ram)
    reader = vsc.channels[0].guest_reader
    reader.drain(lambda packet: None)
    reader.release()
    vsc.device.set_link(False)
    assert not source.waiting
