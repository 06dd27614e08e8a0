"""/sys/devices/system: which CPUs there are (drivers/base/cpu.c), and how they lie in NUMA nodes (node.c)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from guest.fs.node import Directory, File, Node
from guest.irq.cpumask import format_list, format_mask


def sys_devices_system(cpus: int, online: Callable[[], int], nodes: Sequence[int]) -> Directory:
    """``cpus`` possible CPUs, all present; ``nodes``: the CPUs of each NUMA node. One node is a kernel without NUMA.

    There are no ``cpuN/online`` files: taking CPUs offline is not modelled.
    """
    possible = (1 << cpus) - 1
    masks: dict[str, Callable[[], int]] = {
        "offline": lambda: possible & ~online(),
        "online": online,
        "possible": lambda: possible,
        "present": lambda: possible,
    }
    system: dict[str, Node] = {"cpu": Directory.of({name: _list(mask) for name, mask in masks.items()})}
    if len(nodes) > 1:
        every = (1 << len(nodes)) - 1
        entries: dict[str, Node] = {each: _list(lambda: every) for each in ("online", "possible")}
        entries.update((f"node{n}", _node(mask, cpus, online)) for n, mask in enumerate(nodes))
        system["node"] = Directory.of(entries)
    return Directory.of(system)


def _node(mask: int, cpus: int, online: Callable[[], int]) -> Directory:
    """``cpumask_of_node`` shows the CPUs that are online."""
    show = partial(_node_cpus, mask, online)
    return Directory.of({"cpulist": _list(show), "cpumap": File(0o444, lambda: format_mask(show(), cpus) + "\n")})


def _node_cpus(mask: int, online: Callable[[], int]) -> int:
    return mask & online()


def _list(mask: Callable[[], int]) -> File:
    return File(0o444, lambda: format_list(mask()) + "\n")
