"""The files below /proc/irq/N and /sys/kernel/irq/N (kernel/irq/proc.c, irqdesc.c): texts, and writes to the masks.

Reads need kernel memory alone. A write is done by a CPU, in process context.
"""

from __future__ import annotations

import errno

from guest.irq.affinity import can_set_affinity, irq_set_affinity
from guest.irq.core import IrqCore
from guest.irq.cpumask import format_list, format_mask, parse_list, parse_mask
from guest.irq.desc import COUNT_MASK, IrqDesc, IrqTables
from guest.irq.flags import IRQD_LEVEL
from protocol.ids import Irq

SPURIOUS = "count 0\nunhandled 0\nlast_unhandled 0 ms\n"
"""Spurious accounting is not modelled; this is what an IRQ shows whose handler always claims its interrupts."""

READ_ONLY = ("affinity_hint", "effective_affinity", "effective_affinity_list", "node", "spurious")
WRITABLE = ("smp_affinity", "smp_affinity_list")


def proc_irq_dirs(tables: IrqTables) -> dict[Irq, str]:
    """The IRQs that have a directory, each with the name of the sub-directory of its action ("" if it has none)."""
    return {irq: desc.proc_name for irq, desc in tables.live() if desc.in_proc}


def proc_irq_files(tables: IrqTables, irq: Irq) -> dict[str, str]:
    """The files of /proc/irq/N by name. ``node`` is 0, as without NUMA."""
    desc, bits = tables.descs[irq], tables.nr_cpu_ids
    return {
        "affinity_hint": format_mask(desc.affinity_hint, bits) + "\n",
        "effective_affinity": format_mask(desc.effective_affinity, bits) + "\n",
        "effective_affinity_list": format_list(desc.effective_affinity) + "\n",
        "node": "0\n",
        "smp_affinity": format_mask(desc.affinity, bits) + "\n",
        "smp_affinity_list": format_list(desc.affinity) + "\n",
        "spurious": SPURIOUS,
    }


def sys_kernel_irq_files(tables: IrqTables, irq: Irq) -> dict[str, str]:
    """The files of /sys/kernel/irq/N by name; counts of all possible CPUs. An unset name or action reads as 0 bytes."""
    desc = tables.descs[irq]
    counts = ",".join(str(column.counts[irq] & COUNT_MASK) for column in tables.kstat)
    return {
        "actions": f"{desc.action_name}\n" if desc.action else "",
        "chip_name": f"{desc.chip_name}\n",
        "hwirq": f"{desc.hwirq}\n" if desc.domain else "",
        "name": f"{desc.flow_name}\n" if desc.flow_name else "",
        "per_cpu_count": f"{counts}\n",
        "type": "level\n" if desc.dstate & IRQD_LEVEL else "edge\n",
        "wakeup": "disabled\n",
    }


def write_proc_irq(core: IrqCore, irq: Irq, file: str, text: str) -> int:
    """``write(2)`` to a file of /proc/irq/N: the byte count, or ``OSError`` with the errno that the writer sees.

    EIO where the file is read-only or the affinity is not settable (6.10; EPERM since), EINVAL without an online CPU,
    the parser's errors, and the chip's.
    """
    desc: IrqDesc = core.desc(irq)
    if file not in WRITABLE or not can_set_affinity(core, desc):
        raise OSError(errno.EIO, f"/proc/irq/{irq}/{file} cannot be written")
    parse = parse_mask if file == "smp_affinity" else parse_list
    mask = parse(text, core.tables.nr_cpu_ids)
    if not mask & core.online():
        raise OSError(errno.EINVAL, f"no CPU of {text.strip()!r} is online")
    irq_set_affinity(core, irq, mask)
    return len(text)
