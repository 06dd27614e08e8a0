"""A simulated VM whose heartbeat is moved by one CPU while another takes its old CPU offline and brings it back."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from guest.irq.affinity import irq_set_affinity
from guest.vmbus.words import ChannelWords
from host.vmbus.options import HostOptions
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.ids import Irq, Relid

HEARTBEAT = Relid(7)
OFTEN = 2e4
"""With this time scale a heartbeat is due every hundred microseconds."""
DYING, WRITER = 1, 2

Loop = tuple[int, str, Callable[[int], Awaitable[object]], int]
"""(CPU, file, write of a round, rounds)."""


class HotplugVM(SimulatedVM):
    """Three CPUs. ``errors`` counts what the writers of the two files were answered, 0 for success."""

    def __init__(self, seed: int, policy: str = "rfc", time_scale: float = OFTEN) -> None:
        super().__init__(VmSpec(vcpus=3, seed=seed, memory_mb=4, time_scale=time_scale, policy=policy))
        self.errors: dict[str, Counter[int]] = {"smp_affinity": Counter(), "online": Counter()}

    @property
    def heartbeat(self) -> ChannelWords:
        return self.guest.vmbus.channels[HEARTBEAT]

    @property
    def host_target(self) -> int | None:
        """Where the host thinks that the heartbeat interrupts."""
        return self.host.offers["heartbeat"].snapshot().target_vp

    def host_options(self, options: HostOptions) -> None:
        self.host.server.options = options

    def printed(self) -> list[str]:
        """The kernel log."""
        return [str(record.fields[0]) for record in self.trace() if record.event == "printk"]

    def start(self, *loops: Loop) -> list[str]:
        """Start loops on their CPUs at the same time; the files of those that have ended are in the list."""
        ended: list[str] = []

        async def loop(cpu: int, file: str, write: Callable[[int], Awaitable[object]], rounds: int) -> None:
            for number in range(rounds):
                try:
                    await write(number)
                    self.errors[file][0] += 1
                except OSError as error:
                    self.errors[file][error.errno or errno.EIO] += 1
                await self.cpus[cpu].core.sched.pause()
            ended.append(file)

        for cpu, file, write, rounds in loops:
            vcpu = self.cpus[cpu]
            vcpu.enter(partial(vcpu.spawn, loop(cpu, file, write, rounds), f"echo > {file}"))
        return ended

    def together(self, *loops: Loop) -> None:
        """Run loops to their ends."""
        ended = self.start(*loops)
        self.until(lambda: len(ended) == len(loops), "the last write")

    def writer_waits_for(self, family: str) -> bool:
        """The writer's CPU spins on a lock."""
        wait = next(runner.wait for runner in self.hub.runners if runner.name == f"cpu{WRITER}")
        return wait is not None and wait.what.startswith(f"lock {family}")

    @property
    def interrupt_due(self) -> bool:
        """The host has interrupted the dying CPU."""
        return bool(self.cpus[DYING].port.pending)

    async def smp_affinity(self, mask: int) -> None:
        """``echo MASK > /proc/irq/N/smp_affinity`` on the writer's CPU."""
        irq_set_affinity(self.cpus[WRITER].guest.system.irq, Irq(self.heartbeat.irq), mask)

    async def online(self, text: str) -> None:
        """``echo TEXT > /sys/devices/system/cpu/cpu1/online`` on CPU 0."""
        await self.cpus[0].guest.system.hotplug.online_store(self.cpus[DYING].core.cpu, text)

    async def stranded(self) -> bool:
        """With the host's sources stopped: whether data lies in the heartbeat's ring and nobody will ever look."""
        self.host.services.quiesce()
        for _ in range(2):
            await self.pass_time(0.1)
            self.watchdog.look(self.now())
        await self.pass_time(3)
        return bool(self.watchdog.look(self.now()))
