"""CPUs of a guest in one thread, and devices of the host at the other ends of their channels.

The kernel, the packet path of the channel and the rings are the real ones. What lies between is not: opening a channel
needs no messages, a doorbell reaches the device inside the guest's call, and a signal makes a vector pending on the
channel's target CPU. ``settle`` runs everybody until nobody has anything to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from guest.kernel.core import CALL_FUNCTION_SINGLE_VECTOR, RESCHEDULE_VECTOR, Core
from guest.kernel.locks import RawLock
from guest.kernel.memory import KernelMemory
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import HvDriver, VmbusDevice
from guest.vmbus.dispatch import vmbus_chan_handler
from guest.vmbus.numa import Topology
from guest.vmbus.words import ChannelState, VmbusTables
from host.vsp.device import Device
from host.vsp.testing import Clock, no_fence
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, ConnectionId, Cpu, GpadlId, Pfn, Relid, VpIndex
from protocol.port.vp_port import VpPort
from protocol.ram import Ram
from protocol.ring import RingReader, RingWriter
from protocol.wire.gpadl import GpaRange
from protocol.wire.messages import OfferChannel, encode
from protocol.wire.synic import HYPERV_STIMER0_VECTOR, HYPERVISOR_CALLBACK_VECTOR
from protocol.wire.versions import Dialect, Version

KERNEL_WORDS = 1 << 20
DIALECT = Dialect(Version.V5_3)
FIRST_GPADL = 0xE1E10


class Uncontended:
    """A lock that is free whenever somebody wants it: all CPUs run in one thread and none is stopped inside one."""

    def __init__(self) -> None:
        self.taken = False

    def acquire(self) -> None:
        assert not self.taken, "this would wait for ever"
        self.taken = True

    def release(self) -> None:
        self.taken = False


class Locks:
    """``LockBank``."""

    def __init__(self) -> None:
        self._all: dict[str, Uncontended] = {}

    def raw(self, name: str) -> RawLock:
        return self._all.setdefault(name, Uncontended())


class Port(VpPort):
    """A VP port whose only traffic is interrupts to other CPUs; ``ipis`` counts them by vector."""

    def __init__(self, cpu: int, ram: Ram, others: list[Port]) -> None:
        super().__init__(VpIndex(cpu), ram, cast(Any, None))
        self._others = others
        self.ipis: Counter[int] = Counter()

    def cast(self, control: int, rdx: int, r8: int = 0) -> None:
        self.ipis[rdx] += 1
        for vp in range(r8.bit_length()):
            if r8 >> vp & 1:
                self._others[vp].raise_vector(rdx)


class Line:
    """The host's end of an open channel (``VspChannel``), and the wire of its signals."""

    def __init__(self, bench: Bench, relid: Relid, device: Device) -> None:
        self.relid = relid
        self.ram = bench.ram
        self.device = device
        self.signals = 0
        self.flag = False
        self.deaf = False
        """The device does not hear doorbells: a host that is slow to look."""
        self.views: list[BenchChannel] = []
        self.gpadls: dict[GpadlId, tuple[GpaRange, ...]] = {}
        self.outgoing: RingWriter
        self.incoming: RingReader
        self._bench = bench

    def signal(self) -> None:
        self.signals += 1
        self.flag = True
        self._bench.ports[self.views[0].words.target_cpu].raise_vector(HYPERVISOR_CALLBACK_VECTOR)

    def map_gpadl(self, id: GpadlId) -> tuple[GpaRange, ...]:
        if id not in self.gpadls:
            raise PeerError(f"GPADL {id} is not established")
        return self.gpadls[id]

    def unmap_gpadl(self, id: GpadlId) -> None:
        """The guest may take it back at any time here."""

    def doorbell(self) -> None:
        if not self.deaf:
            self.device.doorbell()


class BenchChannel(VmbusChannel):
    """The real channel, opened without asking anybody."""

    line: Line

    @property
    def sub_channels(self) -> list[VmbusChannel]:
        return [channel for channel in cast(Any, self.bus).channels.values() if channel.primary is self]

    async def open(self, send_bytes: int, recv_bytes: int, user_data: bytes = b"") -> None:
        words, core, line = self.words, self.bus.core, self.line
        words.send_pages = send_bytes // PAGE_SIZE
        words.ring_pages = (send_bytes + recv_bytes) // PAGE_SIZE
        words.ring_pfn = core.pages.allocate(words.ring_pages)
        for view in line.views:
            rings = view.map_rings()
        for ring in rings:
            ring.init()
        words.callback = 1
        words.state = ChannelState.OPENED
        line.incoming, line.outgoing = RingReader(rings[0], no_fence), RingWriter(rings[1], no_fence)
        line.device.open(line, user_data.ljust(120, b"\0"))

    async def establish_gpadl(self, first: Pfn, pages: int) -> GpadlId:
        handle = GpadlId(FIRST_GPADL + len(self.line.gpadls))
        self.line.gpadls[handle] = (GpaRange.whole_pages([Pfn(first + page) for page in range(pages)]),)
        return handle

    async def teardown_gpadl(self, handle: GpadlId) -> None:
        del self.line.gpadls[handle]

    async def close(self) -> None:
        if not self.mapped:
            return
        for each in self.sub_channels:
            await each.close()
        words = self.words
        words.callback = 0
        words.state = ChannelState.OPEN
        self.line.device.close(lambda: None)
        for view in self.line.views:
            view.unmap_rings()
        self.bus.core.pages.free(cast(Any, words.ring_pfn), words.ring_pages)
        words.ring_pfn = 0


class Bench:
    """``drivers(core, bus)`` builds the drivers of one CPU, and whatever else lies in kernel memory."""

    def __init__(self, ram: Ram, cpus: int, drivers: Callable[[Core, Any], list[HvDriver]]) -> None:
        ram.bytes[:] = bytes(len(ram.bytes))
        self.ram = ram
        self.clock = Clock()
        self.ports: list[Port] = []
        self.cores: list[Core] = []
        self.buses: list[Any] = []
        self.lines: dict[int, Line] = {}
        words, locks = memoryview(bytearray(KERNEL_WORDS * 8)).cast("Q"), Locks()
        for cpu in range(cpus):
            port = Port(cpu, ram, self.ports)
            core = Core(Cpu(cpu), cpus, port, KernelMemory(words), locks, self.clock)
            core.vectors[CALL_FUNCTION_SINGLE_VECTOR] = core.calls.interrupt
            core.vectors[RESCHEDULE_VECTOR] = core.wake_parked
            core.vectors[HYPERV_STIMER0_VECTOR] = core.timer_interrupt
            core.vectors[HYPERVISOR_CALLBACK_VECTOR] = lambda cpu=cpu: self._interrupt(cpu)  # type: ignore[misc]
            self.ports.append(port)
            self.cores.append(core)
            self.buses.append(self._bus(core, drivers))

    def _bus(self, core: Core, drivers: Callable[[Core, Any], list[HvDriver]]) -> Any:
        tables = VmbusTables.place(core.memory, core.cpus, nodes=1, drivers=1)
        tables.connection.version = DIALECT.version
        bus = SimpleNamespace(
            core=core,
            tables=tables,
            counts=tables.cpus[core.cpu],
            poster=SimpleNamespace(dialect=DIALECT),
            hypercalls=SimpleNamespace(hv_signal_event=self._doorbell),
            relids=SimpleNamespace(rename=lambda channel: None),
            fence=no_fence,
            channels={},
            numa=SimpleNamespace(topology=Topology.one_node(core.cpus)),
            log=[],
        )
        bus.printk = bus.log.append
        bus.drivers = drivers(core, bus)
        return bus

    def _doorbell(self, connection: ConnectionId) -> None:
        self.lines[connection].doorbell()

    def _interrupt(self, cpu: int) -> None:
        for line in self.lines.values():
            if line.flag and line.views[0].words.target_cpu == cpu:
                line.flag = False
                vmbus_chan_handler(line.views[cpu], self.buses[cpu].counts)()

    # --- verbs ------------------------------------------------------------------------------------------------------

    def plug(
        self, device: Device, driver: int, relid: int = 1, target_cpu: int = 0, primary: Line | None = None
    ) -> Line:
        """The host offers ``device``; the guest has a channel for it, bound to its ``driver``-th driver, not open."""
        offer = device.offer
        message = OfferChannel(
            class_id=offer.class_id,
            instance_id=offer.instance_id,
            flags=offer.flags,
            mmio_megabytes=0,
            user_defined=offer.user_defined,
            sub_channel_index=offer.sub_channel_index,
            mmio_megabytes_optional=0,
            relid=Relid(relid),
            connection_id=ConnectionId(relid),
        )
        line = self.lines[relid] = Line(self, Relid(relid), device)
        words = self.buses[0].tables.channels[relid]
        words.offer = encode(message, DIALECT)
        words.target_cpu = target_cpu
        words.driver = driver + 1
        for cpu, bus in enumerate(self.buses):
            above = primary.views[cpu] if primary is not None else None
            channel = BenchChannel(bus, Relid(relid), above)
            channel.line = line
            channel.device = above.device if above is not None else VmbusDevice(channel)
            bus.channels[relid] = channel
            line.views.append(channel)
        return line

    def move(self, line: Line, target_cpu: int, cpu: int = 0) -> None:
        """Somebody on ``cpu`` moves a channel, and the driver hears of it."""
        channel = line.views[cpu]
        old, channel.words.target_cpu = channel.target_cpu, target_cpu
        assert channel.driver is not None
        channel.driver.change_target_cpu(channel, old, Cpu(target_cpu))

    def probe(self, line: Line) -> None:
        """Bind the driver, as the bus does on CPU 0, and let it finish."""
        channel = line.views[0]
        assert channel.driver is not None
        self.run(channel.driver.probe(channel.device))

    def run(self, work: Coroutine[Any, Any, None], cpu: int = 0) -> None:
        """Run a task to its end; what it raises is raised here."""
        outcome: list[BaseException | None] = []

        async def watched() -> None:
            try:
                await work
                outcome.append(None)
            except Exception as error:
                outcome.append(error)

        self.cores[cpu].sched.spawn(watched(), "test")
        self.settle()
        assert outcome, "the task waits for something that does not come"
        if outcome[0] is not None:
            raise outcome[0]

    def settle(self) -> None:
        """Let all CPUs work until none has anything to do."""
        busy = True
        while busy:
            for core in self.cores:
                core.run()
            busy = any(core.port.pending or core.softirqs or core.sched.ready for core in self.cores)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, and the CPUs react to each."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()

    @property
    def calls(self) -> int:
        """Function call interrupts sent so far, by all CPUs."""
        return sum(port.ipis[CALL_FUNCTION_SINGLE_VECTOR] for port in self.ports)


def instance(number: int) -> UUID:
    """An instance GUID."""
    return UUID(int=number)
