"""/proc/irq and /sys/kernel/irq (kernel/irq/proc.c, irqdesc.c).

Reads need kernel memory alone. Writes are done by a CPU, in process context: trees without an ``IrqCore`` have none.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Final

from guest.fs.node import Directory, File, Node, Store
from guest.irq.affinity import can_set_affinity, irq_set_affinity
from guest.irq.core import IrqCore
from guest.irq.cpumask import format_list, format_mask, parse_list, parse_mask
from guest.irq.desc import COUNT_MASK, IrqDesc, IrqTables
from guest.irq.flags import IRQD_LEVEL
from protocol.ids import Irq

SPURIOUS: Final = "count 0\nunhandled 0\nlast_unhandled 0 ms\n"
"""Spurious accounting is not modelled; this is what an IRQ shows whose handler always claims its interrupts."""

Parse = Callable[[str, int], int]


def proc_irq(tables: IrqTables, core: IrqCore | None = None) -> Directory:
    """/proc/irq: a directory for each IRQ that was ever requested, and the default affinity."""

    def default_affinity() -> str:
        return format_mask(tables.shared.default_affinity, tables.nr_cpu_ids) + "\n"

    def entries() -> dict[str, Node]:
        store = None if core is None else partial(write_default_affinity, core)
        directories = {
            str(irq): Directory(partial(_proc_irq_n, tables, irq, core), 0o555)
            for irq, desc in tables.live()
            if desc.in_proc
        }
        return {**directories, "default_smp_affinity": File(0o644, default_affinity, store)}

    return Directory(entries, 0o555)


def _proc_irq_n(tables: IrqTables, irq: Irq, core: IrqCore | None) -> dict[str, Node]:
    """/proc/irq/N, with an empty directory named after the action. ``node`` is 0, as without NUMA."""
    desc, bits = tables.descs[irq], tables.nr_cpu_ids

    def writer(parse: Parse) -> Store | None:
        return None if core is None else partial(write_affinity, core, irq, parse)

    files: dict[str, Node] = {
        "affinity_hint": File(0o444, lambda: format_mask(desc.affinity_hint, bits) + "\n"),
        "effective_affinity": File(0o444, lambda: format_mask(desc.effective_affinity, bits) + "\n"),
        "effective_affinity_list": File(0o444, lambda: format_list(desc.effective_affinity) + "\n"),
        "node": File(0o444, lambda: "0\n"),
        "smp_affinity": File(0o644, lambda: format_mask(desc.affinity, bits) + "\n", writer(parse_mask)),
        "smp_affinity_list": File(0o644, lambda: format_list(desc.affinity) + "\n", writer(parse_list)),
        "spurious": File(0o444, lambda: SPURIOUS),
    }
    if desc.proc_name:
        files[desc.proc_name] = Directory.of({}, 0o555)
    return files


def sys_kernel_irq(tables: IrqTables) -> Directory:
    """/sys/kernel/irq: a directory for each IRQ that exists, requested or not."""
    return Directory(lambda: {str(irq): Directory(partial(_sys_kernel_irq_n, tables, irq)) for irq, _ in tables.live()})


def _sys_kernel_irq_n(tables: IrqTables, irq: Irq) -> dict[str, Node]:
    """Counts are those of all possible CPUs. An unset name or action reads as 0 bytes."""
    desc = tables.descs[irq]

    def counts() -> str:
        return ",".join(str(column.counts[irq] & COUNT_MASK) for column in tables.kstat) + "\n"

    shows: dict[str, Callable[[], str]] = {
        "actions": lambda: f"{desc.action_name}\n" if desc.action else "",
        "chip_name": lambda: f"{desc.chip_name}\n",
        "hwirq": lambda: f"{desc.hwirq}\n" if desc.domain else "",
        "name": lambda: f"{desc.flow_name}\n" if desc.flow_name else "",
        "per_cpu_count": counts,
        "type": lambda: "level\n" if desc.dstate & IRQD_LEVEL else "edge\n",
        "wakeup": lambda: "disabled\n",
    }
    return {name: File(0o444, show) for name, show in shows.items()}


async def write_affinity(core: IrqCore, irq: Irq, parse: Parse, text: str) -> int:
    """``write_irq_affinity()``: the byte count, or ``OSError``.

    EIO where the affinity is not settable (6.10; EPERM since), EINVAL without an online CPU, the parser's errors, and
    the chip's.
    """
    desc: IrqDesc = core.desc(irq)
    if not can_set_affinity(core, desc):
        raise OSError(errno.EIO, f"the affinity of IRQ {irq} cannot be set")
    irq_set_affinity(core, irq, _with_online_cpu(core, parse, text))
    return len(text)


async def write_default_affinity(core: IrqCore, text: str) -> int:
    """``default_affinity_write()``: what IRQs get that are started from now on. ``OSError``: EINVAL, the parser's."""
    core.tables.shared.default_affinity = _with_online_cpu(core, parse_mask, text)
    return len(text)


def _with_online_cpu(core: IrqCore, parse: Parse, text: str) -> int:
    mask = parse(text, core.tables.nr_cpu_ids)
    if not mask & core.online():
        raise OSError(errno.EINVAL, f"no CPU of {text.strip()!r} is online")
    return mask
