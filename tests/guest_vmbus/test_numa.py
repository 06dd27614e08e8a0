"""Which CPU a channel gets (init_vp_index), replayed from what real guests did."""

from __future__ import annotations

from threading import Lock

from guest.kernel.locks import Held, SpinLock
from guest.kernel.memory import KernelMemory
from guest.vmbus.numa import NumaMap, Topology
from guest.vmbus.words import NumaNodeWords, VmbusConnectionWords
from protocol.ids import Cpu


class Placer:
    """Offers in order, as device -> CPUs so far."""

    def __init__(self, topology: Topology, online: int) -> None:
        memory = KernelMemory(memoryview(bytearray(1 << 16)).cast("Q"))
        connection = memory.one(VmbusConnectionWords)
        self.nodes = memory.table(NumaNodeWords, len(topology.nodes))
        self.map = NumaMap(topology, connection, self.nodes, lambda: online, SpinLock("hv_numa_map", Lock(), Held()))
        self.used: dict[str, list[int]] = {}

    def place(self, device: str, perf: bool = True) -> int:
        used = self.used.setdefault(device, [])
        cpu = self.map.init_vp_index(perf, len(used), lambda cpu: cpu in used)
        used.append(cpu)
        return cpu


def test_the_cover_letter_s_machine_spreads_its_channels_as_its_table_shows() -> None:
    placer = Placer(Topology.one_node(8), 0xFF)
    offers = ["storvsc1", "storvsc0", *["netvsc"] * 8, "storvsc1", "storvsc0"]
    assert [placer.place(device) for device in offers] == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]


def test_a_cpu_that_the_device_has_is_passed_over_as_on_the_patched_kernel() -> None:
    """Observed: 14 -> 0, 15 -> 1, sub-channels of 14: 2, 3, 1 (0 is its own), of 15: 2, 3, 0."""
    placer = Placer(Topology.one_node(4), 0xF)
    offers = ["storvsc0", "storvsc1", *["storvsc0"] * 3, *["storvsc1"] * 3]
    assert [placer.place(device) for device in offers] == [0, 1, 2, 3, 1, 2, 3, 0]


def test_slow_devices_stay_on_the_connect_cpu_and_mark_nothing() -> None:
    placer = Placer(Topology.one_node(4), 0xF)
    assert [placer.place("heartbeat", perf=False) for _ in range(3)] == [0, 0, 0]
    assert placer.nodes[0].allocated == 0
    assert placer.place("storvsc0") == 0


def test_more_channels_than_cpus_do_not_search_for_ever() -> None:
    placer = Placer(Topology.one_node(2), 0b11)
    assert [placer.place("netvsc") for _ in range(5)] == [0, 1, 0, 1, 0]


def test_nodes_take_turns_and_the_isolated_and_the_offline_are_skipped() -> None:
    placer = Placer(Topology((0b0011, 0b1100), housekeeping=0b1101), online=0b1111)
    assert [placer.place(f"disk{n}") for n in range(5)] == [0, 2, 0, 3, 0]
    alone = Placer(Topology((0b0011, 0b1100), housekeeping=0b0010), online=0b1101)
    assert alone.place("disk") == 0, "no housekeeping CPU is online"
    assert alone.nodes[0].allocated == 0b0001


def test_a_cpu_given_back_is_given_away_again() -> None:
    placer = Placer(Topology.one_node(4), 0xF)
    assert [placer.place(f"disk{n}") for n in range(3)] == [0, 1, 2]
    placer.map.clear_allocated_cpu(Cpu(1))
    assert placer.place("disk3") == 1
