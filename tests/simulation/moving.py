"""A simulated VM whose channels are moved between CPUs while they are used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice

from guest.irq.affinity import irq_set_affinity
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.words import CallbackMode, ChannelWords
from lab.simulation.cpu import SimulatedCpu
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.ids import Irq, Relid

HEARTBEAT = Relid(7)
BUSY = 2e5
"""With this time scale a heartbeat is due every ten microseconds: as fast as the guest can answer."""


class MovingVM(SimulatedVM):
    """Two CPUs beside the connect CPU, between which the heartbeat's IRQ is moved."""

    def __init__(self, seed: int) -> None:
        super().__init__(VmSpec(vcpus=3, seed=seed, memory_mb=4, time_scale=BUSY))

    _dropped_before = 0
    """How many interrupts had been dropped when the heartbeat's callback last began."""

    @property
    def heartbeat(self) -> ChannelWords:
        return self.guest.vmbus.channels[HEARTBEAT]

    async def answer_in(self, mode: CallbackMode) -> None:
        """Have the heartbeat's driver called back in this way from now on."""
        await self.settled()
        self.heartbeat.callback_mode = mode
        for cpu in self.cpus:
            driver = cpu.guest.system.bus.channels[HEARTBEAT].driver
            assert driver is not None
            driver.onchannel_callback = partial(self._started, driver.onchannel_callback)  # type: ignore[method-assign]

    def _started(self, callback: Callable[[VmbusChannel], None], channel: VmbusChannel) -> None:
        if channel.relid == HEARTBEAT:
            self._dropped_before = self.dropped
        callback(channel)

    @property
    def dropped(self) -> int:
        """The heartbeat's interrupts that handle_simple_irq dropped."""
        return self.guest.irq.descs[self.heartbeat.irq].dropped_in_progress

    @property
    def made_up_for(self) -> bool:
        """Whether the callback has started again after every interrupt that was dropped."""
        return self._dropped_before == self.dropped

    async def move_to_and_fro(self, times: int) -> None:
        """Somebody writes 1, 2, 1, 2 ... to the IRQ's smp_affinity_list on the connect CPU."""
        done: list[bool] = []

        async def write(cpu: SimulatedCpu) -> None:
            for target in islice(cycle((1, 2)), times):
                irq_set_affinity(cpu.guest.system.irq, Irq(self.heartbeat.irq), 1 << target)
                await cpu.core.sched.pause()
            done.append(True)

        connect_cpu = self.cpus[0]
        connect_cpu.enter(lambda: connect_cpu.spawn(write(connect_cpu), "echo"))
        self.until(lambda: bool(done), "the last move")

    async def stranded(self) -> bool:
        """With the host's sources stopped: whether data lies in the heartbeat's ring and nobody will ever look."""
        self.host.services.quiesce()
        for _ in range(2):
            await self.pass_time(0.1)
            self.watchdog.look(self.now())
        await self.pass_time(3)
        return bool(self.watchdog.look(self.now()))
