"""The VMBus of one CPU: everything that ``vmbus_connection`` and ``hv_context`` lead to in Linux, in one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guest.arch.cpuhp import CpuHotplug, CpuhpStep
from guest.arch.hypercall import Hypercalls
from guest.irq.core import IrqCore
from guest.kernel.core import Core
from guest.kernel.oops import MISTAKES
from guest.kernel.wait import MutexWords
from guest.vmbus.channels import ChannelTable
from guest.vmbus.connection import Contact
from guest.vmbus.device import HvDriver
from guest.vmbus.hotplug import hv_synic_cleanup
from guest.vmbus.isr import vmbus_isr
from guest.vmbus.messages import MessageDpc
from guest.vmbus.numa import NumaMap, Topology
from guest.vmbus.policy import Policy
from guest.vmbus.post import Poster
from guest.vmbus.probing import Probing
from guest.vmbus.relids import ChannelArray, ChannelIrqs, RelidMap
from guest.vmbus.requests import ChannelRequests
from guest.vmbus.synic import Synic
from guest.vmbus.words import VmbusTables
from guest.vmbus.workqueue import WorkQueue
from protocol.errors import OperatorError
from protocol.ring import Fence
from protocol.wire.versions import Version


class Vmbus:
    """``vmbus_bus_init``. Constructed on every CPU alike.

    ``isr`` is what the hypervisor callback vector runs. ``printk`` takes one line, ``relax`` is ``cpu_relax()``,
    ``online`` reads cpu_online_mask.
    """

    def __init__(
        self,
        core: Core,
        irq: IrqCore,
        policy: Policy,
        drivers: Sequence[type[HvDriver]],
        *,
        fence: Fence,
        online: Callable[[], int],
        hotplug: CpuHotplug,
        printk: Callable[[str], None],
        relax: Callable[[], None],
        topology: Topology,
        max_version: Version,
    ) -> None:
        self.core = core
        self.irq = irq
        self.policy = policy
        self.fence = fence
        self.printk = printk
        self.relax = relax
        self.tables = VmbusTables.place(core.memory, core.cpus, len(topology.nodes), len(drivers))
        for node, cpus in zip(self.tables.numa, topology.nodes, strict=True):
            node.cpus = cpus
        for words, driver in zip(self.tables.drivers, drivers, strict=True):
            words.name, words.outside = driver.name, int(driver.__module__ in core.oops.modules)
        self.counts = self.tables.cpus[core.cpu]
        connection = self.tables.connection
        self.hypercalls = Hypercalls(core)
        self.requests = ChannelRequests(core, self.tables.requests, connection)
        self.poster = Poster(core, self.hypercalls, connection, self.counts.posted, printk, relax)
        self.contact = Contact(core, connection, self.requests, self.poster, max_version, printk)
        self.channel_mutex = core.mutex(core.memory.one(MutexWords))
        self.channels = ChannelTable(self)
        self.numa = NumaMap(topology, connection, self.tables.numa, online, core.locks.spin("hv_numa_map"))
        self.relids: RelidMap = ChannelIrqs(self) if policy.channel_irqs else ChannelArray(self)
        self.offer_queue = WorkQueue(core, "hv_vmbus_con")
        self.rescind_queue = WorkQueue(core, "hv_vmbus_rescind")
        self.primary_queue = WorkQueue(core, "hv_pri_chan")
        self.sub_queue = WorkQueue(core, "hv_sub_chan")
        self.probing = Probing(self)
        self.synic = Synic(core, connection)
        msg_dpc = MessageDpc(self).tasklet
        self.isr = vmbus_isr(core, self.synic, self.counts, self.relids.deliver, msg_dpc.schedule)
        self.cpus_read_lock = hotplug.cpus_read_lock
        hotplug.setup_starting(self.channels.forget_all)
        hotplug.setup_state(CpuhpStep("hyperv/vmbus:online", self._synic_up, self._synic_down))
        self.drivers = [self._construct(driver) for driver in drivers]

    def _construct(self, driver: type[HvDriver]) -> HvDriver:
        """Raises ``OperatorError``: a driver from outside the tree cannot even be constructed."""
        oops = self.core.oops
        try:
            constructed = driver(self.core, self)
        except MISTAKES as error:
            what = oops.blame(error)
            if what is None:
                raise
            raise OperatorError(what) from error
        constructed.seal(oops)
        return constructed

    async def _synic_up(self) -> None:
        self.synic.hv_synic_init()

    async def _synic_down(self) -> None:
        await hv_synic_cleanup(self)
