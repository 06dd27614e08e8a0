"""A round trip through a channel, by the host's and the worker's real processes.

The host writes a ring packet and signals; an envelope takes the event flag to the VP port; the vmbus interrupt finds
it, the IRQ layer (policy ``rfc``) or the direct call (``legacy``) leads to the driver, which reads the ring, writes its
answer and rings the host with HvSignalEvent; the host reads the answer from its ring and compares it.
"""

from __future__ import annotations

import mmap
import os
import time

from bench.echo import EchoDriver, EchoVsp, TaskletEchoDriver
from bench.raw import BODY
from guest.machine import DRIVERS, KERNEL_BYTES, LOCK_FAMILIES, GuestSpec
from guest.process.locks import InheritedLocks
from guest.process.worker import Worker, WorkerSpec
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from host.machine import DeviceSpec, MachineSpec
from host.process.main import HostProcess, HostSpec
from host.vsp.kind import Kind, NoOptions, Setting
from protocol.ring import Packet
from protocol.shell.child import Child
from protocol.shell.memory import GuestRam

RAM_BYTES = 16 << 20


class Host:
    """The host process with an echo device among its others."""

    def __init__(self, directory: str, orders: int, child: Child, ram: GuestRam) -> None:
        self._child = child
        self._orders = orders
        self._count = self._next = 0
        self._start = 0.0
        machine = MachineSpec(1, (DeviceSpec("echo", "echo"),), kinds={"echo": Kind(NoOptions, self._make)})
        self._process = HostProcess(HostSpec(directory, time.monotonic_ns(), machine), ram, child, None)

    def _make(self, setting: Setting, options: NoOptions) -> EchoVsp:
        self._echo = EchoVsp(0, lambda: self._child.loop.add_reader(self._orders, self._ordered), self._back)
        return self._echo

    def _ordered(self) -> None:
        order = os.read(self._orders, 8)
        if not order:
            self._child.loop.remove_reader(self._orders)
            return
        self._count, self._next = int.from_bytes(order, "little"), 0
        self._process.machine.services.call_later(0.0, self._begin)

    def _begin(self) -> None:
        self._start = time.perf_counter()
        self._echo.post(BODY, 0)

    def _back(self, packet: Packet) -> None:
        if packet.transaction_id != self._next or packet.payload != BODY:
            raise RuntimeError(f"packet {self._next} came back as {packet!r:.80}")
        self._next += 1
        if self._next < self._count:
            self._echo.post(BODY, self._next)
        else:
            self._child.say("played", time.perf_counter() - self._start)


class ChannelPair:
    """The two process bodies of one guest; made before either is forked, for they share its memory and locks."""

    def __init__(self, policy: Policy, in_tasklet: bool = False) -> None:
        self._policy = policy
        self._driver = TaskletEchoDriver if in_tasklet else EchoDriver
        self._ram = GuestRam.create(RAM_BYTES, "vmbus-lab-bench:ram")
        self._kernel = memoryview(mmap.mmap(-1, KERNEL_BYTES)).cast("Q")
        self._locks = InheritedLocks(LOCK_FAMILIES)

    def initiator(self, directory: str, life: int, orders: int, status: int) -> int:
        child = Child("channel", life, status)
        return child.run(lambda: Host(directory, orders, child, self._ram))

    def responder(self, directory: str, life: int, status: int) -> int:
        child = Child("channel peer", life, status)
        guest = GuestSpec(self._policy, Topology.one_node(1), drivers=(*DRIVERS, self._driver))
        spec = WorkerSpec(0, 1, directory, guest, time.monotonic_ns(), 0)
        return child.run(lambda: Worker(spec, self._ram, self._kernel, self._locks, child, None))

    def close(self) -> None:
        """Give up this process's share of the guest's memory."""
        self._ram.close()
