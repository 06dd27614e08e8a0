"""/sys/devices/system: which CPUs there are (drivers/base/cpu.c), and how they lie in NUMA nodes (node.c)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from guest.fs.node import Directory, File, Node
from guest.irq.cpumask import format_list, format_mask
from protocol.ids import Cpu

OnlineStore: TypeAlias = Callable[[Cpu, str], Awaitable[int]]


def sys_devices_system(
    cpus: int, online: Callable[[], int], nodes: Sequence[int], online_store: OnlineStore | None = None
) -> Directory:
    """``cpus`` possible CPUs, all present; ``nodes``: the CPUs of each NUMA node. One node is a kernel without NUMA.

    ``online_store`` is what a write to ``cpuN/online`` does. On x86 CPU 0 has no such file.
    """
    possible = (1 << cpus) - 1
    masks: dict[str, Callable[[], int]] = {
        "offline": lambda: possible & ~online(),
        "online": online,
        "possible": lambda: possible,
        "present": lambda: possible,
    }
    cpu: dict[str, Node] = {f"cpu{n}": _cpu(Cpu(n), online, online_store) for n in range(cpus)}
    cpu.update((name, _list(mask)) for name, mask in masks.items())
    system: dict[str, Node] = {"cpu": Directory.of(cpu)}
    if len(nodes) > 1:
        every = (1 << len(nodes)) - 1
        entries: dict[str, Node] = {each: _list(lambda: every) for each in ("online", "possible")}
        entries.update((f"node{n}", _node(mask, cpus, online)) for n, mask in enumerate(nodes))
        system["node"] = Directory.of(entries)
    return Directory.of(system)


def _cpu(cpu: Cpu, online: Callable[[], int], online_store: OnlineStore | None) -> Directory:
    if not cpu:
        return Directory.of({})
    store = None if online_store is None else partial(online_store, cpu)
    return Directory.of({"online": File(0o644, lambda: f"{online() >> cpu & 1}\n", store)})


def _node(mask: int, cpus: int, online: Callable[[], int]) -> Directory:
    """``cpumask_of_node`` shows the CPUs that are online."""
    show = partial(_node_cpus, mask, online)
    return Directory.of({"cpulist": _list(show), "cpumap": File(0o444, lambda: format_mask(show(), cpus) + "\n")})


def _node_cpus(mask: int, online: Callable[[], int]) -> int:
    return mask & online()


def _list(mask: Callable[[], int]) -> File:
    return File(0o444, lambda: format_list(mask()) + "\n")
