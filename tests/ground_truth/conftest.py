"""The VM on which a kernel with the twelve patches was watched: four CPUs, nine offers, sub-channels of both disks.

The tests of this folder repeat what was done to it (Linux 6.12 with the patches; Linux 6.1 and 6.12 without them for
``legacy``) and expect what was seen. Where the product models 6.10 and so differs, docs/fidelity.md says why.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar
from uuid import UUID

import pytest

from guest.irq.affinity import irq_set_affinity
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.policy import Policy
from protocol.ids import Cpu, Irq
from protocol.wire.guids import (
    HV_AVMA1_GUID,
    HV_HEART_BEAT_GUID,
    HV_KVP_GUID,
    HV_MOUSE_GUID,
    HV_SCSI_GUID,
    HV_SHUTDOWN_GUID,
    HV_TS_GUID,
    HV_VSS_GUID,
)
from protocol.wire.messages import ModifyChannel
from protocol.wire.synic import EVENT_FLAGS_SIZE, MESSAGE_SINT
from tests.guest_vmbus.conftest import RING, Machine, Recorder

HEARTBEAT, SHUTDOWN, TIMESYNC, KVP, AVMA, VSS, MOUSE = 7, 9, 10, 11, 12, 1, 3
STORVSC0, STORVSC1 = 14, 15
SUB_CHANNELS = {23: STORVSC0, 24: STORVSC0, 25: STORVSC0, 26: STORVSC1, 27: STORVSC1, 28: STORVSC1}

OFFERS = {
    STORVSC0: HV_SCSI_GUID,
    HEARTBEAT: HV_HEART_BEAT_GUID,
    SHUTDOWN: HV_SHUTDOWN_GUID,
    TIMESYNC: HV_TS_GUID,
    KVP: HV_KVP_GUID,
    AVMA: HV_AVMA1_GUID,
    VSS: HV_VSS_GUID,
    MOUSE: HV_MOUSE_GUID,
    STORVSC1: HV_SCSI_GUID,
}
"""In the order in which the host made them."""

TOO_LONG = 50
"""Timers after which something that should have ended has not."""


class Opener(Recorder):
    """Opens every channel as the drivers of that kernel did, under the names that they gave (patches 3 and 5)."""

    name = "hv_driver"
    id_table: ClassVar[tuple[UUID, ...]] = (
        HV_SCSI_GUID,
        HV_HEART_BEAT_GUID,
        HV_SHUTDOWN_GUID,
        HV_TS_GUID,
        HV_KVP_GUID,
        HV_VSS_GUID,
    )

    async def probe(self, device: VmbusDevice) -> None:
        if device.class_id == HV_SCSI_GUID:
            device.channel.irq_name = f"pri@storvsc{device.channel.relid - STORVSC0}"
        await super().probe(device)

    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        assert channel.primary is not None
        channel.irq_name = f"sub@storvsc{channel.primary.relid - STORVSC0}"
        await channel.open(RING, RING)


class ObservedVm(Machine):
    """``boot`` offers everything; the verbs are what a person did at the console or at the host."""

    __test__ = False

    def __init__(self, cpus: int, policy: Policy, **how: Any) -> None:
        super().__init__(cpus, policy, **{"driver": Opener, **how})

    def boot(self, sub_channels: bool = False) -> None:
        for relid, class_id in OFFERS.items():
            self.host.offer(relid, class_id)
        super().boot()
        if sub_channels:
            counts: dict[int, int] = {}
            for relid, primary in SUB_CHANNELS.items():
                counts[primary] = number = counts.get(primary, 0) + 1
                self.host.offer(relid, HV_SCSI_GUID, sub=number, instance=primary)
                self.settle()

    def start(self, work: Coroutine[Any, Any, object], cpu: int = 0) -> list[int]:
        """Begin what a writer does. Once it is done the list holds 0, or the errno that the writer was answered."""
        results: list[int] = []

        async def task() -> None:
            try:
                await work
                results.append(0)
            except OSError as error:
                results.append(error.errno or errno.EIO)

        self.cores[cpu].sched.spawn(task(), "echo")
        self.step()
        return results

    def attempt(self, work: Coroutine[Any, Any, object], cpu: int = 0) -> int:
        """Begin it, and let time pass until it is done. What still has to happen then is left to ``settle``."""
        results = self.start(work, cpu)
        for _ in range(TOO_LONG):
            if results:
                return results[0]
            self.clock.jump()
            self.step()
        raise AssertionError("the writer still waits")

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        passed: list[bool] = []
        self.clock.call_later(seconds, lambda: passed.append(True))
        while not passed:
            self.clock.jump()
            self.step()

    def online(self, cpu: int, text: str) -> int:
        """``echo TEXT > /sys/devices/system/cpu/cpuN/online``."""
        return self.attempt(self.systems[0].hotplug.online_store(Cpu(cpu), text + "\n"))

    def cpu_store(self, relid: int, cpu: int, writer: int = 0) -> list[int]:
        """Begin ``echo CPU > /sys/bus/vmbus/devices/.../channels/RELID/cpu``; see ``start``."""
        path = f"/sys/bus/vmbus/devices/{self.channel(relid).device.name}/channels/{relid}/cpu"
        return self.start(self.systems[writer].files.write(path, b"%d\n" % cpu), writer)

    def start_offline(self, cpu: int) -> list[int]:
        """Begin ``echo 0 > /sys/devices/system/cpu/cpuN/online``; see ``start``."""
        return self.start(self.systems[0].hotplug.online_store(Cpu(cpu), "0\n"))

    def smp_affinity(self, relid: int, mask: int) -> int:
        """``echo MASK > /proc/irq/N/smp_affinity``: 0 or the writer's errno, at once."""
        try:
            irq_set_affinity(self.systems[0].irq, Irq(self.irq(relid)), mask)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def moves(self) -> list[tuple[int, int]]:
        """(relid, VP) of every MODIFYCHANNEL so far."""
        return [(m.relid, int(m.target_vp)) for m in self.host.seen if isinstance(m, ModifyChannel)]

    def stray_bit(self, cpu: int, relid: int) -> None:
        """Set an event flag in a CPU's page without an interrupt."""
        page = self.systems[cpu].bus.synic.synic_event_page + MESSAGE_SINT * EVENT_FLAGS_SIZE
        self.ram.words[page // 8 + relid // 64] |= 1 << relid % 64

    def signals(self, relid: int, count: int, vp: int | None = None) -> None:
        """So many interrupts of a channel, one at a time."""
        for _ in range(count):
            assert self.host.signal(relid, vp)
            self.step()

    def received(self, cpu: int) -> list[tuple[int, bytes]]:
        """(relid, packet) of what the drivers have taken on a CPU, without the padding."""
        return [(relid, payload.rstrip(b"\0")) for relid, payload in self.driver(cpu).received]

    def target(self, relid: int) -> int:
        return self.tables.channels[relid].target_cpu

    def lines(self) -> list[str]:
        """The VMBus rows of /proc/interrupts."""
        return [line for line in self.interrupts().splitlines() if " VMBus " in line]


MakeVm = Callable[..., ObservedVm]


@pytest.fixture
def observed() -> Iterator[MakeVm]:
    """Make and boot the VM: ``observed(Policy.RFC)``."""
    made: list[ObservedVm] = []

    def make(policy: Policy, *, cpus: int = 4, sub_channels: bool = False, **how: Any) -> ObservedVm:
        made.append(ObservedVm(cpus, policy, **how))
        made[-1].boot(sub_channels)
        return made[-1]

    yield make
    for machine in made:
        machine.ram.close()


@pytest.fixture(params=list(Policy), ids=lambda policy: policy.value)
def each(request: pytest.FixtureRequest, observed: MakeVm) -> ObservedVm:
    """The VM under each of the designs."""
    return observed(request.param)
