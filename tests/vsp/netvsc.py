"""The guest's side of netvsp: what ``hv_netvsc`` does, and ways to do what it would not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self
from uuid import UUID

from host.vsp.net.backend import Backend
from host.vsp.net.control import Adapter
from host.vsp.net.echo import Echo
from host.vsp.net.netvsp import Netvsp
from host.vsp.testing import Clock, Loopback, OfferedSubChannels
from protocol.ids import GpadlId, Pfn
from protocol.ring import COMPLETION_REQUESTED, Packet, PacketType
from protocol.ring.gpa_direct import encode
from protocol.ring.transfer_pages import parse
from protocol.shell.memory import GuestRam
from protocol.wire import nvsp
from protocol.wire.gpadl import GpaRange
from protocol.wire.ndis import Oid, PacketFilter
from protocol.wire.nvsp_numbers import (
    NO_SECTION,
    RECEIVE_BUFFER_ID,
    Capability,
    ChannelType,
    NvspStatus,
    NvspType,
    NvspVersion,
)
from protocol.wire.rndis import Initialize, Query, QueryComplete, RndisMessage, RndisStatus, Set, SetComplete
from protocol.wire.rndis_packet import Information, decode_packet, packet_header

INSTANCE = UUID("00000000-0000-8899-0000-0000000000a1")
MAC = bytes.fromhex("00155d000001")
PEER = bytes.fromhex("00155d000099")
PAGE = 4096
RECEIVE, SEND = GpadlId(0xE1), GpadlId(0xE2)
RECEIVE_PAGES = tuple(reversed(range(40, 88)))
"""Scattered, as vmalloc's are: each page stands alone."""
SEND_PAGES = (100, 102, 101, 105, 103, 104)
CONTROL_PAGE = 120
DATA_PAGES = range(130, 150)
OPEN_FILTER = PacketFilter.DIRECTED | PacketFilter.ALL_MULTICAST | PacketFilter.BROADCAST


def frame(data: bytes, source: bytes = MAC, destination: bytes = PEER, kind: bytes = b"\x88\xb5") -> bytes:
    return destination + source + kind + data


def message(data: bytes, information: Information | None = None) -> bytes:
    """The RNDIS data message of a frame."""
    return packet_header(len(data), information or {}) + data


def tcp(port: int) -> bytes:
    """The beginning of an IPv4 TCP segment from the peer's address."""
    header = bytes.fromhex("450000280001000040060000") + bytes([10, 0, 0, 2, 10, 0, 0, 1])
    return header + port.to_bytes(2, "big") + b"\x00\x50" + bytes(16)


def back(sent: bytes) -> bytes:
    """What the echo makes of a frame."""
    return sent[6:12] + sent[:6] + sent[12:]


def pages(pfns: Sequence[int]) -> tuple[GpaRange, ...]:
    return (GpaRange(len(pfns) * PAGE, 0, tuple(map(Pfn, pfns))),)


@dataclass
class Received:
    """One transfer-page packet: what the messages in it were, already copied."""

    channel: int
    transaction_id: int
    kind: int
    messages: list[bytes]

    @property
    def frames(self) -> list[bytes]:
        return [bytes(decode_packet(each)[0]) for each in self.messages]


@dataclass
class NetVsc:
    """The guest's side of one NIC. What it takes from a ring is in ``completions`` and ``received``, in order.

    ``patient``: received packets are not completed until ``release``.
    """

    ram: GuestRam
    queues: int = 1
    mtu: int = 1500
    max_version: NvspVersion = NvspVersion.V6_1
    backend: Backend = field(default_factory=Echo)
    receive_pages: Sequence[int] = RECEIVE_PAGES
    patient: bool = False
    clock: Clock = field(default_factory=Clock)
    offers: OfferedSubChannels = field(default_factory=OfferedSubChannels)

    def __post_init__(self) -> None:
        self.adapter = Adapter(MAC, self.mtu, self.queues, "nic")
        self.device = Netvsp(self.clock, INSTANCE, self.adapter, self.backend, self.offers, self.max_version)
        self.ids = count(1)
        self.sub_alloc_size = 0
        self.open()

    def open(self) -> None:
        """Open the primary channel anew."""
        self.channels = {0: self.channel(0)}
        self.channels[0].gpadls = {RECEIVE: pages(self.receive_pages), SEND: pages(SEND_PAGES)}
        self.completions: list[Packet] = []
        self.received: list[Received] = []
        self.in_band: list[Packet] = []
        self.channels[0].open(self.device)

    def channel(self, index: int) -> Loopback:
        """Rings of one page of data, so that they fill up before the receive buffer does."""
        at = 1 + 4 * index
        return Loopback(self.ram, range(at, at + 2), range(at + 2, at + 4), relid=1 + index)

    # --- NVSP ---------------------------------------------------------------------------------------------------------

    def send(self, request: nvsp.NvspMessage, header: bytes = b"", index: int = 0, *, asked: bool = True) -> int:
        """One message of the guest; its transaction id."""
        id = next(self.ids)
        kind = PacketType.GPA_DIRECT if header else PacketType.IN_BAND
        self.channels[index].send(kind, request.encode(), id, COMPLETION_REQUESTED if asked else 0, header)
        self.take()
        return id

    def request(self, request: nvsp.NvspMessage, header: bytes = b"", index: int = 0) -> bytes:
        """One message and its completion."""
        id = self.send(request, header, index)
        (completion,) = self.completions
        self.completions.clear()
        assert completion.transaction_id == id
        return bytes(completion.payload)

    def take(self) -> None:
        """NAPI: take what has arrived on every channel, and complete what was received."""
        for index, channel in self.channels.items():
            for packet in channel.receive():
                match packet.type:
                    case PacketType.COMPLETION:
                        self.completions.append(packet)
                    case PacketType.IN_BAND:
                        self.in_band.append(packet)
                    case PacketType.TRANSFER_PAGES:
                        self._received(index, packet)

    def _received(self, index: int, packet: Packet) -> None:
        assert packet.flags == COMPLETION_REQUESTED
        head = nvsp.RndisPacket.decode(packet.payload)
        assert head.section_index == NO_SECTION
        pages = parse(packet.header)
        assert pages.set_id == RECEIVE_BUFFER_ID
        whole = b"".join(self.ram.page(pfn) for pfn in self.receive_pages)
        messages = [whole[at : at + size] for size, at in pages.ranges]
        assert all(len(each) <= self.sub_alloc_size for each in messages)
        got = Received(index, packet.transaction_id, head.channel_type, messages)
        self.received.append(got)
        if not self.patient:
            self.release(got)

    def release(self, got: Received) -> None:
        """``send_recv_completions``."""
        payload = nvsp.RndisPacketComplete(NvspStatus.SUCCESS).encode()[:8]
        self.channels[got.channel].send(PacketType.COMPLETION, payload, got.transaction_id)

    def complete_set_up(self) -> None:
        """``netvsc_connect_vsp`` and ``rndis_filter_device_add``."""
        self.negotiate()
        self.share()
        self.control(Initialize(1))

    def ready(self) -> Self:
        """Up, with all its channels."""
        self.complete_set_up()
        if self.queues > 1:
            self.open_sub_channels(self.queues - 1)
        self.up()
        return self

    def negotiate(self) -> NvspVersion:
        """From the newest version down until one is good."""
        for version in reversed(NvspVersion):
            answer = nvsp.InitComplete.decode(self.request(nvsp.Init(version, version)))
            if answer.status == NvspStatus.SUCCESS:
                if version > NvspVersion.V1:
                    config = nvsp.NdisConfig(self.mtu + 14, Capability.IEEE8021Q)
                    self.send(config, asked=False)
                self.send(nvsp.NdisVersion(6, 30), asked=False)
                return version
        raise AssertionError("no version is good")

    def share(self) -> None:
        """``netvsc_init_buf``, with its checks."""
        receive = nvsp.ReceiveBufferComplete.decode(self.request(nvsp.ReceiveBuffer(RECEIVE)))
        assert (receive.status, receive.sections, receive.offset) == (NvspStatus.SUCCESS, 1, 0)
        assert receive.sub_alloc_size * receive.sub_allocs <= len(self.receive_pages) * PAGE
        self.sub_alloc_size, self.sub_allocs = receive.sub_alloc_size, receive.sub_allocs
        send = nvsp.SendBufferComplete.decode(self.request(nvsp.SendBuffer(SEND)))
        assert (send.status, send.section_size) == (NvspStatus.SUCCESS, 6144)

    def open_sub_channels(self, wanted: int) -> None:
        """``rndis_set_subchannel``."""
        answer = nvsp.SubChannelComplete.decode(self.request(nvsp.SubChannelRequest(1, wanted)))
        assert (answer.status, answer.count) == (NvspStatus.SUCCESS, wanted)
        for device in list(self.offers.offered):
            index = device.offer.sub_channel_index
            self.channels[index] = self.channel(index)
            self.channels[index].open(device)
        self.take()

    # --- RNDIS --------------------------------------------------------------------------------------------------------

    def control(self, request: RndisMessage | bytes) -> bytes:
        """One control message, in a page of the packet; it is completed, and this is the answer."""
        data = request if isinstance(request, bytes) else request.encode()
        self.send_pages(data, ChannelType.CONTROL)
        got = self.received.pop()
        if self.patient:
            self.release(got)
        (answer,) = got.messages
        return answer

    def query(self, oid: int, information: bytes = b"") -> tuple[int, bytes]:
        """(status, value)."""
        answer = self.control(Query(next(self.ids), oid).with_information(information))
        complete = QueryComplete.decode(answer)
        return complete.status, bytes(complete.information(answer))

    def set(self, oid: int, value: bytes) -> int:
        """The status."""
        return SetComplete.decode(self.control(Set(next(self.ids), oid).with_information(value))).status

    def up(self, accepted: PacketFilter = OPEN_FILTER) -> None:
        """``rndis_filter_open``; 0 is ``rndis_filter_close``."""
        value = int(accepted).to_bytes(4, "little")
        assert self.set(Oid.GEN_CURRENT_PACKET_FILTER, value) == RndisStatus.SUCCESS

    def send_pages(self, data: bytes, channel_type: int = ChannelType.DATA, index: int = 0) -> int:
        """RNDIS messages in pages of their own; the status of their completion."""
        self.ram.bytes[CONTROL_PAGE * PAGE : CONTROL_PAGE * PAGE + len(data)] = data
        header = encode([GpaRange(len(data), 0, tuple(Pfn(CONTROL_PAGE + n) for n in range(-(-len(data) // PAGE))))])
        answer = self.request(nvsp.RndisPacket(channel_type), header, index)
        return nvsp.RndisPacketComplete.decode(answer).status

    def send_section(self, section: int, data: bytes, header: bytes = b"", index: int = 0) -> int:
        """RNDIS messages in a section of the send buffer, and the rest of them in pages."""
        at = section * 6144
        for place, value in enumerate(data, at):
            self.ram.bytes[SEND_PAGES[place // PAGE] * PAGE + place % PAGE] = value
        answer = self.request(nvsp.RndisPacket(ChannelType.DATA, section, len(data)), header, index)
        return nvsp.RndisPacketComplete.decode(answer).status

    def frames(self) -> list[bytes]:
        """All that were received since the last time."""
        got, self.received = self.received, []
        return [each for packet in got if packet.kind == ChannelType.DATA for each in packet.frames]


def refusal(payload: bytes) -> tuple[int, int]:
    """(type, status) of a completion that says no."""
    kind = nvsp.type_of(payload)
    match kind:
        case NvspType.INIT_COMPLETE:
            return kind, nvsp.InitComplete.decode(payload).status
        case NvspType.SEND_RECV_BUF_COMPLETE:
            return kind, nvsp.ReceiveBufferComplete.decode(payload).status
        case NvspType.SEND_SEND_BUF_COMPLETE:
            return kind, nvsp.SendBufferComplete.decode(payload).status
        case NvspType.SUBCHANNEL:
            return kind, nvsp.SubChannelComplete.decode(payload).status
        case _:
            return kind, nvsp.RndisPacketComplete.decode(payload).status
