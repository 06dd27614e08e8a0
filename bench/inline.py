"""A host and a guest of one CPU in one process, with function calls between them: no transport to measure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from guest.kernel.clock import Timer
from guest.kernel.core import Core
from guest.kernel.memory import KernelMemory
from guest.machine import KERNEL_BYTES, LOCK_FAMILIES
from guest.process.locks import InheritedLocks
from guest.system import System
from guest.vmbus.device import HvDriver
from guest.vmbus.policy import Policy
from host.hypervisor.partition import Partition
from host.vmbus.options import HostOptions
from host.vmbus.server import VmbusServer
from host.vsp.device import Device
from protocol.errors import OperatorError, PeerError
from protocol.ids import Cpu, VpIndex
from protocol.port.vp_port import VpPort
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam


class _Cancelled:
    def cancel(self) -> None: ...


class NoClock:
    """Time stands still: nothing here times out."""

    def now(self) -> int:
        return 0

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        return _Cancelled()


class InlineVm:
    """A real hypervisor, VMBus server and guest system. Their envelopes are queued and handed over by ``settle``."""

    def __init__(self, policy: Policy, devices: Sequence[Device], drivers: Sequence[type[HvDriver]], mb: int) -> None:
        self._to_guest: deque[bytes] = deque()
        self._to_host: deque[bytes] = deque()
        self.ram = GuestRam.create(mb << 20, "vmbus-lab-bench:inline")
        self.partition = Partition(1, self.ram, lambda vp, data: self._to_guest.append(data), complain=_fail)
        self._server = VmbusServer(self.partition, HostOptions(), _fail, fence=full_fence)
        self.handles = [self._server.offer(device) for device in devices]
        self.port = VpPort(VpIndex(0), self.ram, self)
        kernel = KernelMemory(memoryview(bytearray(KERNEL_BYTES)).cast("Q"))
        self.core = Core(Cpu(0), 1, self.port, kernel, InheritedLocks(LOCK_FAMILIES), NoClock())
        self.system = System(self.core, policy, drivers, fence=full_fence)
        self.port.hello()
        self.system.start()
        self.settle()

    def offer(self, devices: Sequence[Device]) -> None:
        """More devices; returns when their drivers have them."""
        self.handles += [self._server.offer(device) for device in devices]
        self.settle()

    def send(self, data: bytes) -> None:
        """The wire under the port."""
        self._to_host.append(data)

    def wait(self) -> None:
        """The wire under the port: let the host work until it has something for the guest."""
        while not self._to_guest:
            self.partition.receive(VpIndex(0), self._to_host.popleft())
        self.port.receive(self._to_guest.popleft())

    def settle(self) -> None:
        """Until neither side has anything left to do."""
        while True:
            while self._to_host:
                self.partition.receive(VpIndex(0), self._to_host.popleft())
            self.partition.flush()
            while self._to_guest:
                self.port.receive(self._to_guest.popleft())
            self.core.run()
            if not self._to_host and not self._to_guest:
                return


def _fail(error: PeerError | OperatorError) -> None:
    raise error
