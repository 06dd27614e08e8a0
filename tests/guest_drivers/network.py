"""A guest with one NIC of one channel, whose host end is the real netvsp and can be made to misbehave by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from guest.drivers.netvsc.driver import Netvsc
from guest.drivers.netvsc.words import NetvscQueueWords
from guest.kernel.core import Core
from guest.net.device import NetDevice, NetDeviceWords, NetQueueWords
from guest.net.frame import Frame
from guest.vmbus.device import HvDriver
from host.vsp.net.control import Adapter
from host.vsp.net.echo import Echo
from host.vsp.net.netvsp import Netvsp
from host.vsp.testing import OfferedSubChannels
from protocol.ids import PAGE_SIZE
from protocol.ram import Ram
from protocol.wire.nvsp_numbers import NvspVersion
from tests.guest_drivers.bench import Bench, Line, instance

MAC = bytes.fromhex("00155d0000aa")


class SmallNetvsc(Netvsc):
    """With buffers that fit into the small RAM of the bench."""

    ring_pages = 8
    recv_bytes = 16 * PAGE_SIZE
    send_bytes = 4 * 6144


class NetMachine:
    """``bench``, the NIC, and what has come back: ``received`` holds (CPU, queue, frame)."""

    def __init__(
        self, ram: Ram, cpus: int = 2, driver: type[Netvsc] = SmallNetvsc, version: NvspVersion = NvspVersion.V6_1
    ) -> None:
        def build(core: Core, bus: Any) -> list[HvDriver]:
            return [driver(core, bus)]

        self.bench = Bench(ram, cpus, build)
        self.ram = ram
        adapter = Adapter(MAC, 1500, 1, "nic0")
        echo = Echo(by_rss=False)
        self.host = Netvsp(self.bench.clock, instance(1), adapter, echo, OfferedSubChannels(), version)
        self.line: Line = self.bench.plug(self.host, 0, 1, target_cpu=cpus - 1)
        self.received: list[tuple[int, int, bytes]] = []
        for core, bus in zip(self.bench.cores, self.bench.buses, strict=True):
            bus.drivers[0].devices[0].receiver = lambda queue, frame, cpu=core.cpu: self.received.append(
                (cpu, queue, bytes(frame))
            )

    def probe(self) -> None:
        self.bench.probe(self.line)

    def remove(self) -> None:
        self.bench.run(self.driver().remove(self.line.views[0].device))

    def up(self, cpu: int = 0) -> None:
        self.bench.run(self.driver(cpu).devices.up(self.device(cpu)), cpu)

    def down(self, cpu: int = 0) -> None:
        self.bench.run(self.driver(cpu).devices.down(self.device(cpu)), cpu)

    def driver(self, cpu: int = 0) -> Netvsc:
        driver: Netvsc = self.bench.buses[cpu].drivers[0]
        return driver

    def device(self, cpu: int = 0) -> NetDevice:
        return self.driver(cpu).devices[0]

    @property
    def words(self) -> NetDeviceWords:
        return self.device().words

    @property
    def stats(self) -> NetQueueWords:
        return self.device().queues[0]

    @property
    def queue(self) -> NetvscQueueWords:
        return self.driver().nics.queues[0][0]

    def free_pages(self) -> int:
        return self.bench.cores[0].pages.free_pages()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """The host hears nothing meanwhile; then it looks."""
        self.line.deaf = True
        yield
        self.line.deaf = False
        self.line.doorbell()
        self.bench.settle()

    def transmit(self, data: bytes, cpu: int = 0, epoch: int | None = None) -> bool:
        """Send a frame without waiting for anything; False, with its pages freed: the queue is stopped."""
        core = self.bench.cores[cpu]
        frame = Frame.allocate(core.pages, len(data))
        frame.data(self.ram)[:] = data
        device = self.device(cpu)
        taken = self.driver(cpu).devices.transmit(device, 0, frame, self.words.epoch if epoch is None else epoch)
        if not taken:
            frame.free(core.pages)
        return taken

    def from_host(
        self, type: int, payload: bytes, transaction_id: int = 0, flags: int = 0, header: bytes = b""
    ) -> None:
        """The host writes a packet that netvsp would not write, and signals."""
        assert self.line.outgoing.put(type, payload, transaction_id, flags, header)
        if self.line.outgoing.commit():
            self.line.signal()
        self.bench.settle()


def frame(number: int, length: int = 100) -> bytes:
    """To and from the NIC itself, so that its echo is equal."""
    return MAC + MAC + b"\x88\xb5" + number.to_bytes(4, "little") + bytes(n % 251 for n in range(length - 18))
