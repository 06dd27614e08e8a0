"""A guest of a few CPUs and a host that plays VMBus by script, in one process: no threads, no sockets, no real time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest

from guest.arch.smpboot import CpuMaskWords
from guest.files import guest_root
from guest.fs.tree import Tree
from guest.irq.desc import IrqTables
from guest.irq.proc import show_interrupts
from guest.kernel.core import Core
from guest.kernel.locks import RawLock
from guest.kernel.memory import KernelMemory
from guest.net.sysfs import NetTables
from guest.system import System
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice, bind, unbind
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from guest.vmbus.words import CallbackMode, VmbusTables
from host.hypervisor.partition import HypervisorOptions, Partition
from protocol.ids import ConnectionId, Cpu, GpadlId, Relid, VpIndex
from protocol.port.vp_port import VpPort
from protocol.ring import Packet, RingReader, RingWriter
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import Assembler
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_NIC_GUID, HV_SCSI_GUID
from protocol.wire.hypercall import MESSAGE_CONNECTION, MULTI_CLIENT_CONNECTION
from protocol.wire.messages import (
    AllOffersDelivered,
    ControlMessage,
    GpadlBody,
    GpadlCreated,
    GpadlHeader,
    GpadlTeardown,
    GpadlTorndown,
    InitiateContact,
    ModifyChannel,
    ModifyChannelResponse,
    OfferChannel,
    OpenChannel,
    OpenChannelResult,
    RequestOffers,
    RescindChannelOffer,
    VersionResponse,
    decode,
    encode,
)
from protocol.wire.synic import HYPERVISOR_CALLBACK_VECTOR, MESSAGE_SINT
from protocol.wire.versions import Dialect, Version

RING = 8192
HEARTBEAT = Relid(7)

T = TypeVar("T")


class TestLock:
    """A lock of one process: taking it twice is a deadlock, and is reported as one."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.taken = False

    def acquire(self) -> None:
        assert not self.taken, f"deadlock on {self.name}"
        self.taken = True

    def release(self) -> None:
        self.taken = False


class Bank:
    def __init__(self) -> None:
        self._locks: dict[str, TestLock] = {}

    def raw(self, name: str) -> RawLock:
        return self._locks.setdefault(name, TestLock(name))


@dataclass(order=True)
class FakeTimer:
    due: int
    number: int
    then: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Time that passes when everybody waits for it."""

    def __init__(self) -> None:
        self.time = 0
        self._timers: list[FakeTimer] = []
        self._made = 0

    def now(self) -> int:
        self.time += 1  # so that a busy wait ends
        return self.time

    def call_later(self, seconds: float, then: Callable[[], None]) -> FakeTimer:
        self._made += 1
        timer = FakeTimer(self.time + round(seconds * 1e7), self._made, then)
        heapq.heappush(self._timers, timer)
        return timer

    def jump(self) -> bool:
        """On to the next timer. False if there is none."""
        while self._timers:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.time = max(self.time, timer.due)
                timer.then()
                return True
        return False


class DirectWire:
    """What a VP sends reaches the host at once; what the host sends waits until the VP looks."""

    def __init__(self, machine: Machine, vp: VpIndex) -> None:
        self._machine = machine
        self._vp = vp
        self.queue: deque[bytes] = deque()

    def send(self, data: bytes) -> None:
        self._machine.partition.receive(self._vp, data)
        self._machine.partition.flush()

    def wait(self) -> None:
        assert self.queue, "the VP waits for an answer that nobody will give"
        self.deliver()

    def deliver(self) -> None:
        while self.queue:
            self._machine.ports[self._vp].receive(self.queue.popleft())


class Recorder(HvDriver):
    """Opens what it is given, notes what comes in, and can be told how to open."""

    name = "hv_recorder"
    id_table: ClassVar[tuple[UUID, ...]] = (HV_HEART_BEAT_GUID, HV_SCSI_GUID, HV_NIC_GUID)
    mode = CallbackMode.BATCHED

    def __init__(self, core: Core, bus: object) -> None:
        super().__init__(core, bus)  # type: ignore[arg-type]
        self.received: list[tuple[int, bytes]] = []
        self.callbacks = 0

    async def probe(self, device: VmbusDevice) -> None:
        device.channel.set_sc_creation_callback()
        device.channel.set_read_mode(self.mode)
        await device.channel.open(RING, RING)

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        channel.set_read_mode(self.mode)
        await channel.open(RING, RING)

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        self.callbacks += 1
        channel.receive(lambda packet: self.received.append((channel.relid, bytes(packet.payload))))


class Unmatched(Recorder):
    """Gets a device only when a test binds one to it."""

    id_table = ()


class DirectRecorder(Recorder):
    mode = CallbackMode.DIRECT


class IsrRecorder(Recorder):
    mode = CallbackMode.ISR


@dataclass
class HostChannel:
    """A channel as the scripted host sees it."""

    target_vp: VpIndex
    outgoing: RingWriter
    incoming: RingReader
    doorbells: int = 0


class FakeHost:
    """Answers like a VMBus server, except where the script says otherwise; ``seen`` is what the guest has posted."""

    def __init__(
        self,
        partition: Partition,
        versions: tuple[Version, ...],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.partition = partition
        self.call_later = call_later
        self.versions = versions
        self.dialect = Dialect(Version.V5_3)
        self.seen: list[ControlMessage] = []
        self.silent: set[type[ControlMessage]] = set()
        self.modify_status = 0
        self.modify_after: float | None = None
        """Seconds after which a MODIFYCHANNEL takes effect and is answered; None: at once."""
        self.open_status = 0
        self.gpadl_status = 0
        self.offers: list[OfferChannel] = []
        self.channels: dict[int, HostChannel] = {}
        self._offers_requested = False
        self._gpadls: dict[int, Assembler] = {}
        partition.listen_messages(MESSAGE_CONNECTION, self._on_message)
        if max(versions) >= Version.V5_0:
            partition.listen_messages(MULTI_CLIENT_CONNECTION, self._on_message)

    # --- what a test tells it ---------------------------------------------------------------------------------------

    def post(self, message: ControlMessage) -> None:
        self.partition.post(VpIndex(0), MESSAGE_SINT, encode(message, self.dialect))
        self.partition.flush()

    def offer(self, relid: int, class_id: UUID, sub: int = 0, instance: int = 0, flags: int = 0) -> OfferChannel:
        """Offer a channel now or, before the guest has asked, later. Sub-channels name the relid of their primary."""
        connection = ConnectionId(0x2000 + relid)
        identity = UUID(int=instance or relid)
        offer = OfferChannel(class_id, identity, flags, 0, bytes(120), sub, 0, Relid(relid), connection)
        self.partition.listen_events(connection, lambda: self._on_doorbell(relid))
        self.offers.append(offer)
        if self._offers_requested:
            self.post(offer)
        return offer

    def rescind(self, relid: int) -> None:
        self.post(RescindChannelOffer(Relid(relid)))

    def signal(self, relid: int, vp: int | None = None) -> bool:
        target = self.channels[relid].target_vp if vp is None else VpIndex(vp)
        done = self.partition.signal(target, MESSAGE_SINT, relid)
        self.partition.flush()
        return done

    def send(self, relid: int, payload: bytes) -> bool:
        """Put a packet into the guest's ring; signal if the ring's rules say so, and say whether."""
        writer = self.channels[relid].outgoing
        assert writer.put(6, payload)
        return writer.commit() and self.signal(relid)

    def read(self, relid: int) -> list[bytes]:
        packets: list[Packet] = []
        self.channels[relid].incoming.drain(packets.append)
        self.channels[relid].incoming.release()
        return [bytes(packet.payload) for packet in packets]

    def names(self) -> list[str]:
        """What the guest posted, by the kernel's names."""
        return [message.name for message in self.seen]

    # --- what it does by itself -------------------------------------------------------------------------------------

    def _on_doorbell(self, relid: int) -> None:
        self.channels[relid].doorbells += 1

    def _on_message(self, vp: VpIndex, payload: bytes) -> None:
        message = decode(payload, self.dialect)
        self.seen.append(message)
        if type(message) in self.silent:
            return
        match message:
            case InitiateContact():
                supported = message.version in self.versions
                if supported:
                    self.dialect = Dialect(Version(message.version))
                self.post(VersionResponse(supported, connection_id=1 if supported else 0))
            case RequestOffers():
                self._offers_requested = True
                for offer in self.offers:
                    self.post(offer)
                self.post(AllOffersDelivered())
            case GpadlHeader():
                self._gpadls[message.gpadl] = assembler = Assembler(message)
                self._created(assembler)
            case GpadlBody():
                self._gpadls[message.gpadl].add(message)
                self._created(self._gpadls[message.gpadl])
            case GpadlTeardown():
                del self._gpadls[message.gpadl]
                self.post(GpadlTorndown(message.gpadl))
            case OpenChannel():
                if not self.open_status:
                    self._open(message)
                self.post(OpenChannelResult(message.relid, message.open_id, self.open_status))
            case ModifyChannel():
                if self.modify_after is None:
                    self._modify(message)
                else:
                    self.call_later(self.modify_after, lambda: self._modify(message))

    def _modify(self, message: ModifyChannel) -> None:
        if not self.modify_status:
            self.channels[message.relid].target_vp = message.target_vp
        if self.dialect.version >= Version.V5_3:
            self.post(ModifyChannelResponse(message.relid, self.modify_status))

    def _created(self, assembler: Assembler) -> None:
        if assembler.complete:
            self.post(GpadlCreated(assembler.relid, assembler.gpadl, self.gpadl_status))

    def _open(self, message: OpenChannel) -> None:
        (pages,) = self._gpadls[GpadlId(message.ring_gpadl)].ranges()
        ram, middle = self.partition.ram, message.downstream_page
        incoming = RingReader(ram.ring(pages.pfns[:middle]), full_fence)
        outgoing = RingWriter(ram.ring(pages.pfns[middle:]), full_fence)
        self.channels[message.relid] = HostChannel(message.target_vp, outgoing, incoming)


class Machine:
    """One VM. ``settle()`` lets everything happen that can, time included."""

    def __init__(
        self,
        cpus: int,
        policy: Policy,
        *,
        driver: type[HvDriver] = Recorder,
        versions: tuple[Version, ...] = (Version.V5_3,),
        max_version: Version = Version.V5_3,
        topology: Topology | None = None,
        modules: frozenset[str] = frozenset(),
    ) -> None:
        self.ram = GuestRam.create(16 << 20, "test")
        self.clock = Clock()
        self.log: list[str] = []
        self.options = HypervisorOptions()
        self.wires = [DirectWire(self, VpIndex(n)) for n in range(cpus)]
        self.partition = Partition(cpus, self.ram, self._transmit, self.options)
        self.host = FakeHost(self.partition, versions, self.clock.call_later)
        self.ports = [VpPort(VpIndex(n), self.ram, self.wires[n]) for n in range(cpus)]
        words = memoryview(bytearray(8 << 20)).cast("Q")
        self.memory = KernelMemory(words.toreadonly())
        bank = Bank()
        self.cores = [Core(Cpu(n), cpus, self.ports[n], KernelMemory(words), bank, self.clock) for n in range(cpus)]
        self.systems = [
            System(
                core,
                policy,
                [driver],
                self._journal,
                fence=full_fence,
                topology=topology,
                max_version=max_version,
                modules=modules,
            )
            for core in self.cores
        ]
        self.bus = self.systems[0].bus
        self.tables = self.bus.tables

    def _transmit(self, vp: VpIndex, data: bytes) -> None:
        self.wires[vp].queue.append(data)

    def _journal(self, kind: str, *what: object) -> None:
        if kind == "printk":
            self.log.append(str(what[0]))

    # --- verbs ------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        for port in self.ports:
            port.hello()
        for system in self.systems:
            system.start()
        self.settle()

    def step(self) -> None:
        """Let everything happen that needs no time to pass."""
        while any(wire.queue or core.has_work for wire, core in self._cpus()):
            for wire, core in self._cpus():
                wire.deliver()
                core.run()

    def _cpus(self) -> list[tuple[DirectWire, Core]]:
        return list(zip(self.wires, self.cores, strict=True))

    def settle(self, jumps: int = 1000) -> None:
        self.step()
        while self.clock.jump():
            jumps -= 1
            assert jumps, "something waits for ever"
            self.step()

    def vector(self, cpu: int) -> None:
        """An interrupt that brings nothing."""
        self.ports[cpu].raise_vector(HYPERVISOR_CALLBACK_VECTOR)
        self.step()

    def channel(self, relid: int, cpu: int = 0) -> VmbusChannel:
        return self.systems[cpu].bus.channels[relid]

    def driver(self, cpu: int = 0) -> Recorder:
        driver = self.systems[cpu].bus.drivers[0]
        assert isinstance(driver, Recorder)
        return driver

    def do(self, work: Coroutine[Any, Any, T], cpu: int = 0) -> T:
        """Run ``work`` as a task of ``cpu``, let everything settle, and return or raise what became of it."""
        result: list[T] = []
        failure: list[Exception] = []

        async def task() -> None:
            try:
                result.append(await work)
            except Exception as error:
                failure.append(error)

        self.cores[cpu].sched.spawn(task(), "test")
        self.settle()
        if failure:
            raise failure[0]
        assert result, "the task still waits"
        return result[0]

    def bind(self, relid: int) -> bool:
        return not self.do(bind(self.bus, self.bus.drivers[0], self.channel(relid).device))

    def unbind(self, relid: int) -> None:
        self.do(unbind(self.channel(relid).device))

    def read(self, path: str) -> str:
        """A file of the guest, through a tree that has no CPU and memory that it cannot write."""
        irq, vmbus = IrqTables.find(self.memory), VmbusTables.find(self.memory)
        masks, net = self.memory.find(CpuMaskWords)[0], NetTables.find(self.memory)
        return Tree(guest_root(irq, vmbus, masks, net, self.ram.bytes.toreadonly())).read(path).decode()

    def write(self, path: str, text: str, cpu: int = 0) -> int:
        """What write(2) returns to a process on ``cpu``. Raises ``OSError``."""
        return self.do(self.systems[cpu].files.write(path, text.encode("latin-1")), cpu)

    # --- what can be read off -----------------------------------------------------------------------------------------

    def hyp(self, cpu: int = 0) -> int:
        return self.systems[0].irq_tables.arch_stat[cpu].hyp

    def irq(self, relid: int) -> int:
        return self.tables.channels[relid].irq

    def row(self, relid: int) -> list[int]:
        """The channel's counts in /proc/interrupts, by CPU."""
        return [column.counts[self.irq(relid)] for column in self.systems[0].irq_tables.kstat]

    def interrupts(self) -> str:
        return show_interrupts(self.systems[0].irq_tables, self.systems[0].cpus.online)


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made: list[Machine] = []
    yield made
    for machine in made:
        machine.ram.close()


MakeMachine = Callable[..., Machine]


@pytest.fixture
def vm(machines: list[Machine]) -> MakeMachine:
    """Make a machine: ``vm(2, Policy.RFC)``."""

    def make(cpus: int, policy: Policy, **how: object) -> Machine:
        machines.append(Machine(cpus, policy, **how))  # type: ignore[arg-type]
        return machines[-1]

    return make
