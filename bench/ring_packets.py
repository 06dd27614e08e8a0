"""Packets a second from one process to another: through a ring, and as ZeroMQ messages, one for each packet.

Both paths carry the same packets between two processes and check each of them on arrival. The ring is 2 MiB, written in
batches, and its doorbells are empty ZeroMQ messages, sent when ``commit`` or ``release`` says so and at no other time.
The other path is the obvious one without shared memory: ROUTER to DEALER, one msgpack array for each packet.

Nothing here wakes a side that nobody woke: who waits longer than STALL gives up, and the rest counts as lost.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from struct import Struct
from typing import Any, Final, TypeAlias

import msgpack
import zmq

from protocol.ids import PAGE_SIZE
from protocol.ring import PacketType, RingCorrupt, RingMemory, RingReader, RingWriter, ring_bytes
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam

RING_SIZE: Final = 2 << 20
BATCH: Final = 64
"""Different payloads, packets for one commit(), and packets that a reader takes at once."""
STALL: Final = 10_000
"""Milliseconds without a doorbell, on a machine with other work to do, after which it is not late but lost."""

_CHECK: Final = Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one path. ``lost`` packets never came, ``torn`` ones were not what had been sent."""

    seconds: float
    doorbells: int
    lost: int
    torn: int


@dataclass(frozen=True, slots=True)
class RingBench:
    """Per payload size one entry for each round; ``ratios`` is ring packets/s over message packets/s of that round."""

    ratios: dict[int, list[float]] = field(default_factory=dict)
    ring_rate: dict[int, list[float]] = field(default_factory=dict)
    doorbells_per_packet: dict[int, list[float]] = field(default_factory=dict)
    packets: int = 0
    lost: int = 0
    torn: int = 0


def measure(rounds: int, packets: int, sizes: Sequence[int] = (64, 1500, 4096)) -> RingBench:
    """``rounds`` rounds of ``packets`` packets for each size and path, the two paths taking turns in going first."""
    ratios: dict[int, list[float]] = {size: [] for size in sizes}
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    doorbells: dict[int, list[float]] = {size: [] for size in sizes}
    runs: list[Run] = []
    ram = GuestRam.create(RING_SIZE + PAGE_SIZE, "ring-bench")
    ring = ram.ring(range(ram.pages))
    for turn in range(rounds):
        for size in sizes:
            pair = {path: _run(path, ring, packets, size) for path in (RING, MESSAGES)[:: -1 if turn % 2 else 1]}
            through_ring = pair[RING]
            runs.append(through_ring)
            ratios[size].append(pair[MESSAGES].seconds / through_ring.seconds)
            rates[size].append(packets / through_ring.seconds)
            doorbells[size].append(through_ring.doorbells / packets)
    ram.close()
    lost, torn = sum(run.lost for run in runs), sum(run.torn for run in runs)
    return RingBench(ratios, rates, doorbells, len(runs) * packets, lost, torn)


Socket: TypeAlias = "zmq.Socket[bytes]"
Side = Callable[[Socket, RingMemory, int, int], Any]


@dataclass(frozen=True, slots=True)
class Path:
    """A way for packets: what its two processes do, each given (socket, ring, packets, size), and their sockets."""

    send: Side
    receive: Side
    sender: zmq.SocketType
    receiver: zmq.SocketType


def _run(path: Path, ring: RingMemory, packets: int, size: int) -> Run:
    """Both sides are forked anew, so neither inherits the other's sockets. The clock starts when both are connected."""
    ring.init()
    fork = get_context("fork")
    result, report = fork.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as directory:
        work = (report, path, f"ipc://{directory}/bell", ring, packets, size)
        sides = [fork.Process(target=side, args=work) for side in (_sender, _receiver)]
        for process in sides:
            process.start()
        report.close()  # so that the death of a side ends recv()
        sent, received = sorted((result.recv(), result.recv()), key=lambda run: isinstance(run, Run))
        for process in sides:
            process.join()
    return Run(received.seconds, received.doorbells + sent, received.lost, received.torn)


def _sender(report: Connection, path: Path, address: str, ring: RingMemory, packets: int, size: int) -> None:
    gc.disable()
    with zmq.Context() as context, _socket(context, path.sender, size) as socket:
        socket.bind(address)
        report.send(path.send(socket, ring, packets, size))


def _receiver(report: Connection, path: Path, address: str, ring: RingMemory, packets: int, size: int) -> None:
    gc.disable()
    with zmq.Context() as context, _socket(context, path.receiver, size) as socket:
        socket.connect(address)
        report.send(path.receive(socket, ring, packets, size))


def _socket(context: zmq.Context[Socket], kind: zmq.SocketType, size: int) -> Socket:
    """A socket that may hold as many bytes as the ring."""
    socket = context.socket(kind)
    socket.set_hwm(max(1000, RING_SIZE // size))
    socket.linger = socket.rcvtimeo = STALL
    return socket


def _payloads(size: int) -> list[bytes]:
    """BATCH payloads that each carry their number and, to show a mixture of two, its complement."""
    numbers = (_CHECK.pack(number, ~number & 0xFFFF_FFFF_FFFF_FFFF) for number in range(BATCH))
    return [(number * (size // _CHECK.size + 1))[:size] for number in numbers]


class Inspector:
    """Compares what arrives with what was sent, packet by packet."""

    def __init__(self, packets: int, payloads: list[bytes]) -> None:
        """Built before the clock starts: ``payloads`` are to come in turn, under transaction ids that count up."""
        self._expected = [(6, 0, id, b"", payloads[id % BATCH]) for id in range(packets)]
        self.arrived = 0
        self.lost = 0
        self.torn = 0

    def inspect(self, batch: list[Any]) -> None:
        """``batch`` holds the next packets as (type, flags, transaction id, header, payload)."""
        first, self.arrived = self.arrived, self.arrived + len(batch)
        expected = self._expected[first : self.arrived]
        if batch != expected:
            came, wanted = set(batch), set(expected)
            self.torn += len(came - wanted)
            self.lost += len(wanted - came)


def _send_ring(bell: Socket, ring: RingMemory, packets: int, size: int) -> int:
    writer = RingWriter(ring, full_fence)
    put, commit, in_band = writer.put, writer.commit, int(PacketType.IN_BAND)
    payloads = _payloads(size)
    doorbells = 0
    bell.recv()
    bell.send(b"")
    for first in range(0, packets, BATCH):
        for id, payload in enumerate(payloads[: packets - first], first):
            while not put(in_band, payload, id):
                if commit():
                    bell.send(b"")
                    doorbells += 1
                # A quarter of the ring, as OpenVMM asks: for one packet's room each side would wake the other in turn.
                if not writer.want(max(ring_bytes(size), RING_SIZE // 4)) and not _wait(bell):
                    return doorbells
        if commit():
            bell.send(b"")
            doorbells += 1
    return doorbells


def _receive_ring(bell: Socket, ring: RingMemory, packets: int, size: int) -> Run:
    reader = RingReader(ring, full_fence)
    inspector = Inspector(packets, [payload + bytes(-size % 8) for payload in _payloads(size)])
    batch: list[Any] = []
    doorbells = 0
    bell.send(b"")
    bell.recv()
    start = time.perf_counter()
    try:
        while inspector.arrived < packets:
            reader.mask()
            while reader.drain(batch.append, BATCH):
                if reader.release():
                    bell.send(b"")
                    doorbells += 1
                inspector.inspect(batch)
                batch.clear()
            if not reader.unmask() and inspector.arrived < packets and not _wait(bell):
                break
    except RingCorrupt:
        inspector.torn += 1
    seconds = time.perf_counter() - start
    return Run(seconds, doorbells, inspector.lost + packets - inspector.arrived, inspector.torn)


def _wait(bell: Socket) -> bool:
    """Sleep until somebody rings, and take all rings there are. False: nobody did."""
    if not bell.poll(STALL):
        return False
    while bell.poll(0):
        bell.recv(zmq.NOBLOCK)
    return True


def _send_messages(router: Socket, ring: RingMemory, packets: int, size: int) -> int:
    router.router_mandatory = 1
    peer, _ = router.recv(), router.recv()
    send, pack = router.send, msgpack.packb
    payloads = _payloads(size)
    send(peer, zmq.SNDMORE)
    send(b"")
    for first in range(0, packets, BATCH):
        for id, payload in enumerate(payloads[: packets - first], first):
            send(peer, zmq.SNDMORE)
            send(pack((6, 0, id, b"", payload)))
    return 0


def _receive_messages(dealer: Socket, ring: RingMemory, packets: int, size: int) -> Run:
    inspector = Inspector(packets, _payloads(size))
    recv, unpack = dealer.recv, msgpack.unpackb
    dealer.send(b"")
    dealer.recv()
    start = time.perf_counter()
    with suppress(zmq.Again):
        for first in range(0, packets, BATCH):
            batch = [unpack(recv(), use_list=False) for _ in range(first, min(first + BATCH, packets))]
            inspector.inspect(batch)
    seconds = time.perf_counter() - start
    return Run(seconds, 0, inspector.lost + packets - inspector.arrived, inspector.torn)


RING: Final = Path(_send_ring, _receive_ring, zmq.PAIR, zmq.PAIR)
MESSAGES: Final = Path(_send_messages, _receive_messages, zmq.ROUTER, zmq.DEALER)
