"""One CPU of the guest with everything on it: kernel, drivers, programs. The same in processes and simulation."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from guest.drivers.hid_hyperv.driver import HidHyperv
from guest.drivers.hv_balloon.driver import HvBalloon
from guest.drivers.hv_util.driver import HvUtils
from guest.drivers.hyperv_fb.driver import HypervFb
from guest.drivers.hyperv_keyboard.driver import HypervKeyboard
from guest.drivers.netvsc.driver import Netvsc
from guest.drivers.storvsc.driver import Storvsc
from guest.faults import FAULTS
from guest.kernel.core import CALL_FUNCTION_SINGLE_VECTOR, RESCHEDULE_VECTOR, Core
from guest.programs.checksum import Checksum
from guest.programs.net_load import NetLoad
from guest.programs.pattern import Pattern
from guest.programs.program import Program
from guest.programs.storage_load import StorageLoad
from guest.system import Journal, System
from guest.vmbus.device import HvDriver
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from protocol.errors import OperatorError
from protocol.inject import inject
from protocol.ring import Fence
from protocol.wire.messages import AllOffersDelivered
from protocol.wire.synic import MESSAGE_SINT, flags_in
from protocol.wire.versions import Version

KERNEL_BYTES: Final = 16 << 20
"""Kernel memory for 64 CPUs and all channels that there can be."""

LOCK_FAMILIES = (
    "call_queue",
    "channelmsg_lock",
    "cpu_online_mask",
    "desc",
    "driver",
    "hv_numa_map",
    "irq_domain_mutex",
    "napi",
    "oops",
    "outbound",
    "pages",
    "program",
    "sched_lock",
    "set_affinity_lock",
    "sparse_irq_lock",
    "stor_device",
    "tasklet",
    "wait",
    "xmit",
)
"""Every family of spin locks that a guest takes; the shell of the processes makes the semaphores before it forks."""

SETTLE_LOOK_SECONDS = 0.001

DRIVERS: Final[tuple[type[HvDriver], ...]] = (
    HvUtils,
    Storvsc,
    Netvsc,
    HvBalloon,
    HypervKeyboard,
    HidHyperv,
    HypervFb,
)
"""What the guest has loaded, in the order in which the drivers are asked."""


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """What the guest has to know. ``max_version``: the VMBus module parameter; ``drivers``: those loaded, in order.

    ``modules`` are drivers from outside the tree. They are asked first, and their mistakes do not end the VM.
    """

    policy: Policy
    topology: Topology
    max_version: Version = Version.V5_3
    drivers: tuple[type[HvDriver], ...] = DRIVERS
    legacy_pic: bool = False
    """As machines of Generation 1 have; it counts in nr_irqs."""
    modules: tuple[type[HvDriver], ...] = ()

    @property
    def module_names(self) -> frozenset[str]:
        """The Python modules of ``modules``."""
        return frozenset(driver.__module__ for driver in self.modules)


def _noted(handler: Callable[[], None], vector: int, journal: Journal) -> Callable[[], None]:
    """The handler of a vector, with a line in the journal before each run."""

    def noted() -> None:
        journal("interrupt", vector)
        handler()

    return noted


class GuestCpu:
    """What a shell drives. Made on every CPU with the same arguments."""

    def __init__(self, core: Core, spec: GuestSpec, fence: Fence, journal: Journal | None) -> None:
        self.core = core
        self.system = System(
            core,
            spec.policy,
            (*spec.modules, *spec.drivers),
            journal,
            fence=fence,
            topology=spec.topology,
            max_version=spec.max_version,
            legacy_pic=spec.legacy_pic,
            modules=spec.module_names,
        )
        storvsc = next(driver for driver in self.system.bus.drivers if isinstance(driver, Storvsc))
        self._programs: dict[str, Program] = {
            "checksum": Checksum(core, storvsc.disks),
            "pattern": Pattern(core, storvsc.disks),
            "storage_load": StorageLoad(core, storvsc.disks),
        }
        for netvsc in self.system.bus.drivers:
            if isinstance(netvsc, Netvsc):
                self._programs |= {f"net_load@{dev.name}": NetLoad(core, netvsc.devices, dev) for dev in netvsc.devices}
        for name, program in self._programs.items():
            program.ended = partial(self._note, "ended", name)
        self._journal = journal
        if journal is not None:
            core.vectors = {vector: _noted(handler, vector, journal) for vector, handler in core.vectors.items()}

    def start(self) -> None:
        """Boot this CPU."""
        self._boot = self.system.start()

    def start_program(self, name: str, **arguments: Any) -> None:
        """Start this CPU's part of a program. Raises ``OperatorError`` if it cannot run."""
        online = self.system.cpus.online
        offline = [str(cpu) for cpu in range(self.core.cpus) if not online >> cpu & 1]
        if offline:
            raise OperatorError(f"programs run on every CPU: bring CPU {', '.join(offline)} online before")
        self._note("program", name, arguments)
        self._programs[name].start(**arguments)

    def stop_program(self, name: str) -> None:
        """Have all CPUs end a program."""
        self._note("stop", name)
        self._programs[name].stop()

    async def settled(self) -> None:
        """On the connect CPU: return when every device that the host offered has been probed."""
        self._note("settle")
        bus = self.system.bus
        while not (self._boot.finished and bus.counts.messages[AllOffersDelivered.number]):
            await self.core.sleep(SETTLE_LOOK_SECONDS)
        await bus.offer_queue.flush()
        await bus.primary_queue.flush()
        while bus.probing.under_way:
            await self.core.sleep(SETTLE_LOOK_SECONDS)
        for driver in bus.drivers:
            driver.check_matched(channel.offer.class_id for channel in bus.channels)
        self._note("settled")

    def write(self, path: str, data: bytes) -> Coroutine[Any, Any, int]:
        """``open(2)`` and one ``write(2)`` by a process on this CPU: the byte count, or the negative errno.

        Raises ``OperatorError`` at once on a CPU that is offline, where no task would ever run.
        """
        if self.core.dead:
            raise OperatorError(f"CPU {self.core.cpu} is offline: have another one write")
        return self._write(path, data)

    async def _write(self, path: str, data: bytes) -> int:
        self._note("write", path, data.decode("latin-1"))
        try:
            result = await self.system.files.write(path, data)
        except OSError as error:
            result = -(error.errno or errno.EIO)
        self._note("written", path, result)
        return result

    def inject(self, fault: str, **arguments: Any) -> None:
        """Break something on purpose."""
        self._note("inject", fault, arguments)
        inject(FAULTS, self.system, fault, **arguments)

    def _note(self, event: str, *fields: Any) -> None:
        """What somebody outside had this CPU do: the run depends on it besides the guest."""
        if self._journal is not None:
            self._journal(event, *fields)

    def snapshot(self) -> dict[str, Any]:
        """What this CPU's port and core have counted; the rest is in kernel memory."""
        port, core = self.core.port, self.core
        flags = port.flag_words(MESSAGE_SINT)
        return {
            **asdict(port.counts),
            "sent": port.sent,
            "received": port.received,
            "merged": dict(port.merged),
            "flags": [flag for index, word in enumerate(flags or ()) for flag in flags_in(word, index)],
            "synic": flags is not None,
            "handlers": self.system.bus.channels.reachable(),
            "rings": self.system.bus.channels.ring_bytes(),
            "spurious_vectors": core.spurious_vectors,
            "ipis_pending": sum(
                port.pending >> vector & 1 for vector in (RESCHEDULE_VECTOR, CALL_FUNCTION_SINGLE_VECTOR)
            ),
            "idle": core.dead or not (port.pending or core.softirqs),
        }
