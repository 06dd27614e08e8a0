"""A simulated VM with NICs whose every frame comes back, and what is known of the frames."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from guest.drivers.netvsc.driver import Netvsc
from guest.drivers.netvsc.words import NetvscQueueWords
from guest.irq.affinity import irq_set_affinity
from guest.irq.flags import IRQD_IRQ_INPROGRESS
from guest.net.device import NetDeviceWords, NetQueueWords
from guest.programs.net_load import NetLoadCpuWords, NetLoadStreamWords, NetLoadWords
from host.machine import DeviceSpec
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.schedule import Schedule
from lab.simulation.vm import SimulatedVM
from lab.spec import GuestVersion, VmSpec
from protocol.ids import Irq

MOVES = 20
PATIENCE = 2
"""Virtual seconds."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Of one device, over all streams."""

    sent: int
    returned: int
    lost: int
    interrupted: int
    bad: int


class NetVM(SimulatedVM):
    """``nics`` of them, called nic0 onwards on the host, with as many queues as there are CPUs.

    The guest calls them as it likes: probes overlap. The last byte of the address is the host's number.
    """

    def __init__(
        self,
        seed: int,
        cpus: int = 4,
        nics: int = 1,
        policy: str = "rfc",
        version: GuestVersion = "5.3",
        schedule: Schedule | None = None,
        **options: Any,
    ) -> None:
        devices = [
            DeviceSpec(
                "netvsc", f"nic{number}", options={"queues": cpus, "mac": f"00:15:5d:00:00:{number:02x}"} | options
            )
            for number in range(nics)
        ]
        super().__init__(
            VmSpec(vcpus=cpus, seed=seed, policy=policy, memory_mb=64, devices=devices, max_version=version),
            schedule,
        )

    def device(self, number: int = 0) -> NetDeviceWords:
        return self.memory.find(NetDeviceWords)[number]

    def queues(self, number: int = 0) -> list[NetQueueWords]:
        each = self.spec.vcpus
        return list(self.memory.find(NetQueueWords))[number * each : (number + 1) * each]

    def load(self, number: int = 0) -> NetLoadWords:
        return self.memory.find(NetLoadWords, number)[0]

    def frames(self, number: int = 0) -> Frames:
        streams = list(self.memory.find(NetLoadStreamWords, number))
        return Frames(
            sum(stream.sent for stream in streams),
            sum(stream.returned for stream in streams),
            sum(stream.lost for stream in streams),
            sum(stream.interrupted + max(0, stream.given_up - stream.next) for stream in streams),
            sum(stream.bad for stream in streams)
            + sum(cpu.damaged for cpu in self.memory.find(NetLoadCpuWords, number)),
        )

    async def start_load(self, number: int = 0, frames: int = 0, window: int = 32) -> None:
        await self.start_program(f"net_load@eth{number}", frames=frames, window=window, seed=self.spec.seed)

    async def stop_load(self, number: int = 0) -> Frames:
        """Have the program end, and wait for it."""
        await self.stop_program(f"net_load@eth{number}")
        return self.end_of_load(number)

    def end_of_load(self, number: int = 0) -> Frames:
        words = self.load(number)
        self.until(lambda: bool(words.finished), f"the end of the load on eth{number}", PATIENCE)
        assert not words.failed, words.error
        return self.frames(number)

    def until_returned(self, more: int, number: int = 0) -> None:
        """Let so many more frames come back."""
        enough = self.frames(number).returned + more
        self.until(lambda: self.frames(number).returned >= enough, f"{more} frames on eth{number}", PATIENCE)

    def driver(self, cpu: int = 0) -> Netvsc:
        return next(driver for driver in self.cpus[cpu].guest.system.bus.drivers if isinstance(driver, Netvsc))

    @property
    def dropped(self) -> int:
        """Interrupts that found their IRQ in progress elsewhere."""
        return sum(cpu.dropped_in_progress for cpu in self.guest.irq.cpu_stat)

    @property
    def missed_in_progress(self) -> bool:
        """An interrupt that is in progress has marked a run of NAPI as missed."""
        descs, channels = self.guest.irq.descs, self.guest.vmbus.channels
        return any(
            queue.missed and queue.relid and descs[channels[queue.relid].irq].dstate & IRQD_IRQ_INPROGRESS
            for queue in self.memory.find(NetvscQueueWords)
        )

    async def link(self, cpu: int, up: bool, number: int = 0) -> None:
        """Somebody on ``cpu`` does what ``ip link set`` does."""
        await self.files.write(f"/sys/class/net/eth{number}/flags", b"0x1003" if up else b"0x1002", cpu)

    def replug(self) -> None:
        """The host takes the NIC that the guest calls eth0 away; when it is gone it offers it again."""
        name = f"nic{self.device().address >> 40}"
        self.on_host(lambda: self.host.rescind(name))
        self.until(lambda: self.host.offers[name].relid is None, f"{name} given back", PATIENCE)
        before = self.device().registrations
        self.on_host(lambda: self.host.offer(name))
        self.until(lambda: self.device().registrations > before, f"{name} back", PATIENCE)

    async def driver_file(self, file: str, nic: str = "nic0") -> None:
        """Somebody writes the device to ``bind`` or ``unbind`` of the driver. Raises OSError."""
        name = f"{self.host.devices[nic].offer.instance_id}\n"
        await self.files.write(f"/sys/bus/vmbus/drivers/{Netvsc.name}/{file}", name.encode())

    def movers(self, cpus: int) -> set[str]:
        """So many CPUs move every open channel round the CPUs, some times. Those that have not ended are in the set."""
        moving = {cpu.name for cpu in self.cpus[:cpus]}

        async def move(cpu: SimulatedCpu) -> None:
            await move_channels(cpu)
            moving.remove(cpu.name)

        for cpu in self.cpus[:cpus]:
            cpu.enter(lambda cpu=cpu: cpu.spawn(move(cpu), "mover"))  # type: ignore[misc]
        return moving

    def until_ended(self, moving: set[str]) -> None:
        self.until(lambda: not moving, "the last move", PATIENCE)


async def move_channels(cpu: SimulatedCpu) -> None:
    for step in range(MOVES):
        take_channels(cpu, (cpu.core.cpu + step) % cpu.core.cpus)
        await cpu.core.sleep(20e-6)


def take_channels(cpu: SimulatedCpu, target: int) -> None:
    """Somebody on ``cpu`` moves every open channel to ``target``."""
    system = cpu.guest.system
    for channel in list(system.bus.channels):
        if channel.words.irq_requested and channel.words.callback:
            with suppress(OSError):  # it has been closed meanwhile
                irq_set_affinity(system.irq, Irq(channel.words.irq), 1 << target)
