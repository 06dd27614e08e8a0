"""Which CPU a new channel interrupts (``init_vp_index``, drivers/hv/channel_mgmt.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from guest.kernel.locks import SpinLock
from guest.kernel.memory import Table
from guest.vmbus.words import VMBUS_CONNECT_CPU, NumaNodeWords, VmbusConnectionWords
from protocol.ids import Cpu


@dataclass(frozen=True, slots=True)
class Topology:
    """``nodes[n]``: the CPUs of NUMA node n, as a mask. ``housekeeping``: those not isolated (isolcpus=managed_irq)."""

    nodes: tuple[int, ...]
    housekeeping: int

    @classmethod
    def one_node(cls, cpus: int) -> Topology:
        """All CPUs in one node, none isolated."""
        return cls(((1 << cpus) - 1,), (1 << cpus) - 1)


class NumaMap:
    """Which CPUs have been given to channels of performance-critical devices.

    Used under channel_mutex, but not by RFC patch 10, which moves channels without it (defect D6). ``lock`` stands for
    the atomicity of Linux's bit operations; no interrupt handler takes it.
    """

    def __init__(
        self,
        topology: Topology,
        words: VmbusConnectionWords,
        nodes: Table[NumaNodeWords],
        online: Callable[[], int],
        lock: SpinLock,
    ) -> None:
        self.topology = topology
        self._words = words
        self._nodes = nodes
        self._online = online
        self._lock = lock

    def init_vp_index(self, perf: bool, sub_channel_index: int, cpuself_used: Callable[[Cpu], bool]) -> Cpu:
        """The CPU for a new channel. ``cpuself_used``: another channel of the same device interrupts there.

        Channels of other than "perf" devices stay on the connect CPU. The rest goes round the nodes, and in each node
        to the lowest CPU that has not been given away; when none is left, all are free again. A CPU that the device
        uses already is passed over, but marked, and as often as there are CPUs at most.
        """
        online = self._online()
        housekeeping = self.topology.housekeeping & online
        if not perf or not housekeeping:
            if perf:
                self.set_allocated_cpu(Cpu(VMBUS_CONNECT_CPU))
            return Cpu(VMBUS_CONNECT_CPU)
        ncpu = online.bit_count()
        for attempt in range(1, ncpu + 2):
            node = self._next_node(housekeeping)
            cpus, words = self.topology.nodes[node] & online, self._nodes[node]
            available = (words.allocated ^ cpus) & housekeeping
            if not available:
                with self._lock:
                    words.allocated = 0
                available = cpus & housekeeping
            target = Cpu((available & -available).bit_length() - 1)
            self.set_allocated_cpu(target)
            if sub_channel_index >= ncpu or attempt > ncpu or not cpuself_used(target):
                break
        return target

    def _next_node(self, housekeeping: int) -> int:
        words, nodes = self._words, self.topology.nodes
        while True:
            node = words.next_numa_node_id % len(nodes)
            words.next_numa_node_id = node + 1
            if nodes[node] & housekeeping:
                return node

    def set_allocated_cpu(self, cpu: Cpu) -> None:
        """``hv_set_allocated_cpu``."""
        with self._lock:
            self._nodes[self._node_of(cpu)].allocated |= 1 << cpu

    def clear_allocated_cpu(self, cpu: Cpu) -> None:
        """``hv_clear_allocated_cpu``, when the caller has seen that no perf channel interrupts there."""
        with self._lock:
            self._nodes[self._node_of(cpu)].allocated &= ~(1 << cpu)

    def _node_of(self, cpu: Cpu) -> int:
        return next(n for n, mask in enumerate(self.topology.nodes) if mask >> cpu & 1)
