"""One CPU of the guest, put together: IRQ core, vectors, VMBus, drivers, and the boot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guest.arch.cpuhp import CpuHotplug
from guest.arch.smpboot import CpuMasks
from guest.arch.x86 import install_vectors
from guest.files import guest_root
from guest.fs.tree import Tree
from guest.irq.core import IrqCore
from guest.irq.cpuhotplug import irq_migrate_all_off_this_cpu
from guest.irq.desc import IrqTables
from guest.irq.proc import x86_nr_irqs
from guest.irq.startup import resend_irqs
from guest.kernel.core import Core
from guest.kernel.sched import Task
from guest.kernel.tasklet import TaskletWords
from guest.net.sysfs import NetTables
from guest.vmbus.bus import Vmbus
from guest.vmbus.device import HvDriver
from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from guest.vmbus.words import VMBUS_CONNECT_CPU
from protocol.ring import Fence
from protocol.wire.versions import Version

Journal = Callable[..., None]


class ResendTasklet(TaskletWords):
    """``resend_tasklet`` of one CPU."""


class System:
    """Built on every CPU with the same arguments; that is how the shared tables fall on the same words.

    ``journal("printk", line)`` is told each line of the kernel log. ``topology``: one NUMA node, nothing isolated,
    unless said otherwise. ``max_version`` is the VMBus module parameter. ``modules``: the Python modules of drivers
    from outside the tree, whose mistakes are their own.
    """

    def __init__(
        self,
        core: Core,
        policy: Policy,
        drivers: Sequence[type[HvDriver]],
        journal: Journal | None = None,
        *,
        fence: Fence,
        topology: Topology | None = None,
        max_version: Version = Version.V5_3,
        legacy_pic: bool = False,
        modules: frozenset[str] = frozenset(),
    ) -> None:
        self.core = core
        self._journal = journal
        core.oops.modules, core.oops.printk = modules, self._printk
        self.cpus = CpuMasks(core)
        self.irq_tables = IrqTables.place(core.memory, core.cpus)
        if core.cpu == VMBUS_CONNECT_CPU:
            self.irq_tables.early_irq_init(x86_nr_irqs(core.cpus, legacy_pic=legacy_pic))
        resend = core.tasklet(core.memory.table(ResendTasklet, core.cpus)[core.cpu], lambda: resend_irqs(self.irq))
        self.irq = IrqCore(
            self.irq_tables,
            core.cpu,
            core.locks,
            core,
            online=lambda: self.cpus.online,
            schedule_resend=resend.schedule,
            relax=self._relax,
            log=self._printk,
            point=core.point,
        )
        self.hotplug = CpuHotplug(core, self.cpus, lambda: irq_migrate_all_off_this_cpu(self.irq), self._printk)
        self.bus = Vmbus(
            core,
            self.irq,
            policy,
            drivers,
            fence=fence,
            online=lambda: self.cpus.online,
            hotplug=self.hotplug,
            printk=self._printk,
            relax=self._relax,
            topology=topology or Topology.one_node(core.cpus),
            max_version=max_version,
        )
        net = NetTables.find(core.memory)
        self.files = Tree(guest_root(self.irq_tables, self.bus.tables, self.cpus.words, net, core.ram.bytes, self))
        install_vectors(
            core,
            self.irq_tables.arch_stat[core.cpu],
            self.bus.isr,
            count_messages_only=policy.hyp_counts_messages_only,
        )

    def start(self) -> Task:
        """Spawn this CPU's boot. The task ends when the CPU is up; on the connect CPU, when offers are asked for."""
        return self.core.sched.spawn(self._boot(), "boot")

    async def _boot(self) -> None:
        """SynIC on every CPU; then the connect CPU connects. A host without a common version raises EDOM here."""
        self.cpus.set_cpu_online(True)
        await self.hotplug.bring_up()
        if self.core.cpu == VMBUS_CONNECT_CPU:
            await self.hotplug.all_up()
            await self.bus.contact.connect()
            await self.bus.contact.request_offers()

    def _printk(self, line: str) -> None:
        if self._journal:
            self._journal("printk", line)

    def _relax(self) -> None:
        if self.core.point:
            self.core.point("cpu_relax")
