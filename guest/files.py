"""The guest's root directory: which file is where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guest.arch.smpboot import CpuMaskWords
from guest.arch.topology import sys_devices_system
from guest.drivers.netvsc.driver import Netvsc
from guest.fs.node import Directory, File, Node
from guest.irq.desc import IrqTables
from guest.irq.proc import show_interrupts, show_stat_intr
from guest.irq.procirq import proc_irq, sys_kernel_irq
from guest.net.device import NetDevices
from guest.net.sysfs import NetTables, sys_class_net
from guest.vmbus.sysfs.bus import sys_bus_vmbus, vmbus_devices
from guest.vmbus.sysfs.device import DEVICES
from guest.vmbus.sysfs.view import VmbusView
from guest.vmbus.words import VmbusTables

if TYPE_CHECKING:
    from guest.system import System
    from guest.vmbus.bus import Vmbus


def guest_root(
    irq: IrqTables,
    vmbus: VmbusTables,
    masks: CpuMaskWords,
    net: NetTables,
    ram: memoryview,
    system: System | None = None,
) -> Directory:
    """/proc and /sys, rendered from kernel memory and ``ram`` (guest RAM as bytes), without stopping anybody.

    ``system``: the CPU that writes do their work on; without one nothing can be written.
    """
    view = VmbusView(vmbus, ram)
    core, bus = (None, None) if system is None else (system.irq, system.bus)

    def online() -> int:
        return masks.online

    proc: dict[str, Node] = {
        "interrupts": File(0o444, lambda: show_interrupts(irq, online())),
        "irq": proc_irq(irq, core),
        "stat": File(0o444, lambda: show_stat_intr(irq)),
    }
    *buses, last = DEVICES.removeprefix("devices/").split("/")
    acpi: Node = Directory.of({last: vmbus_devices(view, bus)})
    for name in reversed(buses[1:]):
        acpi = Directory.of({name: acpi})
    nodes = [node.cpus for node in vmbus.numa]
    store = None if system is None else system.hotplug.online_store
    sys: dict[str, Node] = {
        "bus": Directory.of({"vmbus": sys_bus_vmbus(view, bus)}),
        "class": Directory.of({"net": sys_class_net(net, _net_devices(bus))}),
        "devices": Directory.of({buses[0]: acpi, "system": sys_devices_system(irq.nr_cpu_ids, online, nodes, store)}),
        "kernel": Directory.of({"irq": sys_kernel_irq(irq)}),
    }
    return Directory.of({"proc": Directory.of(proc, 0o555), "sys": Directory.of(sys)})


def _net_devices(bus: Vmbus | None) -> NetDevices | None:
    drivers = () if bus is None else bus.drivers
    return next((driver.devices for driver in drivers if isinstance(driver, Netvsc)), None)
