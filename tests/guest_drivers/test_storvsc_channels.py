"""Which channel of a controller a request takes, as ``storvsc_do_io`` chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from guest.drivers.storvsc.driver import Storvsc
from guest.drivers.storvsc.words import StorChannelWords
from guest.vmbus.numa import Topology
from host.vsp.device import Device
from host.vsp.storage.controller import ScsiController
from host.vsp.storage.scsi.disk import ScsiDisk
from host.vsp.storage.storvsp import Storvsp
from protocol.shell.memory import GuestRam
from tests.guest_drivers.bench import Line, instance
from tests.guest_drivers.storage import FIRST, Machine, image

CPUS = 4
PRIMARY = 1


class Wide:
    """Four CPUs; a controller whose primary, and granted sub-channels in their order, interrupt ``targets``."""

    def __init__(self, ram: GuestRam, targets: Sequence[int], announced: int = 63) -> None:
        self.machine = Machine(ram, CPUS, depth=64)
        self.bench = self.machine.bench
        self.disk = image(512)
        self._targets = targets
        disk = ScsiDisk(self.disk, UUID(int=1), self.bench.clock.complain)
        device = Storvsp(self.bench.clock, ScsiController({FIRST: disk}), instance(1), self, announced)
        self.primary = self.bench.plug(device, 0, PRIMARY, targets[0])
        self.bench.probe(self.primary)
        self.bench.settle()

    def offer(self, devices: Sequence[Device]) -> None:
        """The ``SubChannels`` of the controller: the guest opens what it is offered."""
        self.granted = len(devices)
        for number, (device, target) in enumerate(zip(devices, self._targets[1:], strict=False), 1):
            line = self.bench.plug(device, 0, PRIMARY + number, target, self.primary)
            channel = line.views[0]
            self.bench.cores[0].sched.spawn(self.machine.driver().sc_creation_callback(channel), "sub-channel")

    def withdraw(self) -> None:
        """The bench closes them."""

    def line(self, number: int) -> Line:
        return self.bench.lines[PRIMARY + number]

    def channel_of(self, cpu: int) -> int:
        """The channel that a read from ``cpu`` is answered on: 0 is the primary."""
        before = self.completions()
        self.machine.read(8 * cpu, 8, cpu)
        (changed,) = (n for n, (old, new) in enumerate(zip(before, self.completions(), strict=True)) if old != new)
        return changed

    def completions(self) -> list[int]:
        lines = (line for relid, line in sorted(self.bench.lines.items()))
        return [line.views[0].state(StorChannelWords).completions for line in lines]

    def fill(self, number: int) -> None:
        """Leave a channel's ring to the host with less room than a tenth."""
        channel = self.line(number).views[0]
        self.line(number).deaf = True
        while channel.avail_to_write_percent > 10:
            channel.send_packet(bytes(4096))

    @property
    def table(self) -> tuple[int, list[int]]:
        """CPUs with a channel, and the channel of each CPU as its number + 1."""
        device = self.machine.device()
        return device.alloced_cpus, [relid - PRIMARY + 1 if relid else 0 for relid in list(device.stor_chns)[:CPUS]]


@pytest.mark.parametrize(("announced", "asked"), [(63, 3), (2, 2)])
def test_it_asks_for_a_channel_for_each_other_cpu_at_most(ram: GuestRam, announced: int, asked: int) -> None:
    vm = Wide(ram, (0, 1, 2, 3), announced)
    assert vm.granted == asked
    assert vm.line(1).views[0].irq_name == "sub@storvsc0"
    assert vm.table == (0b1111 >> 3 - asked, [1, 2, 3, 4][: asked + 1] + [0] * (3 - asked))


def test_completions_are_left_to_another_cpu_of_the_node_while_its_ring_has_room(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1, 2, 3))
    assert [vm.channel_of(cpu) for cpu in range(CPUS)] == [1, 2, 3, 0]
    vm.fill(1)
    assert vm.channel_of(0) == 2
    vm.fill(2)
    vm.fill(3)
    assert vm.channel_of(0) == 0, "its own is the last of the node"


def test_a_request_stays_on_its_node_unless_all_of_it_is_busy(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1, 2, 3))
    for bus in vm.bench.buses:
        bus.numa.topology = Topology((0b0011, 0b1100), 0b1111)
    assert [vm.channel_of(cpu) for cpu in range(CPUS)] == [1, 0, 3, 2]
    vm.fill(2)
    vm.fill(3)
    assert vm.channel_of(2) == 0


def test_cpus_without_a_channel_are_spread_over_those_of_their_node_for_good(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1), announced=1)
    assert [vm.channel_of(cpu) for cpu in (2, 3)] == [0, 1]
    assert vm.table == (0b0011, [1, 2, 1, 2])
    vm.fill(0)
    assert vm.channel_of(3) == 1


def test_a_node_without_a_channel_takes_the_primary(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1), announced=1)
    for bus in vm.bench.buses:
        bus.numa.topology = Topology((0b0011, 0b1100), 0b1111)
    assert [vm.channel_of(cpu) for cpu in (2, 3)] == [0, 0]


def test_a_channel_that_moves_takes_its_place_along_and_what_was_derived_is_decided_anew(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1), announced=1)
    assert [vm.channel_of(cpu) for cpu in (2, 3)] == [0, 1]
    vm.bench.move(vm.line(1), 3, cpu=2)
    assert vm.table == (0b1001, [1, 0, 0, 2])
    assert [vm.channel_of(cpu) for cpu in range(CPUS)] == [1, 1, 0, 0]


def test_a_channel_that_leaves_a_cpu_which_another_interrupts_too_leaves_it_to_that(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1, 2), announced=2)
    vm.bench.move(vm.line(2), 1)
    assert vm.table == (0b0011, [1, 3, 0, 0])
    vm.bench.move(vm.line(2), 2)
    assert vm.table == (0b0111, [1, 2, 3, 0])


def test_a_sub_channel_that_the_host_takes_back_is_not_sent_on_and_its_requests_are_sent_again(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1), announced=1)
    vm.disk.slow = True
    outcome: list[str] = []

    async def read() -> None:
        await vm.machine.disk(0).read(0, 1, vm.machine.pages(1))
        outcome.append("read")

    vm.bench.cores[0].sched.spawn(read(), "read")
    vm.bench.settle()
    before = vm.completions()
    sub_channel = vm.line(1).views[0]
    sub_channel.words.callback = 0
    sub_channel.words.rescind = 1
    vm.machine.driver().rescinded(sub_channel)
    vm.bench.settle()
    assert vm.table == (0b0001, [1, 0, 0, 0])
    vm.disk.work()
    vm.bench.settle()
    assert outcome == ["read"]
    assert vm.completions() == [before[0] + 1, before[1]]


def test_removal_waits_for_what_is_under_way_on_every_channel(ram: GuestRam) -> None:
    vm = Wide(ram, (0, 1, 2, 3))
    free = vm.bench.cores[0].pages.free_pages()
    vm.disk.slow = True
    ended = [0]

    async def read(cpu: int) -> None:
        first = vm.machine.pages(1, cpu)
        await vm.machine.disk(cpu).read(0, 1, first)
        vm.bench.cores[cpu].pages.free(first)
        ended[0] += 1

    for cpu in range(CPUS):
        vm.bench.cores[cpu].sched.spawn(read(cpu), "read")
    vm.bench.settle()
    driver: Storvsc = vm.machine.driver()
    vm.bench.cores[0].sched.spawn(driver.remove(vm.primary.views[0].device), "remove")
    vm.bench.settle()
    vm.disk.work(CPUS - 1)
    vm.bench.settle()
    assert (ended, vm.line(3).views[0].mapped) == ([CPUS - 1], True)
    vm.disk.work()
    vm.bench.settle()
    assert ended == [CPUS]
    assert not any(line.views[0].mapped for line in vm.bench.lines.values())
    assert vm.bench.cores[0].pages.free_pages() == free + CPUS * 64
