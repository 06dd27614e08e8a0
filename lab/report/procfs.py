"""What a person reads: /proc/interrupts and /proc/stat, parsed back (I13, I27)."""

from __future__ import annotations

from collections.abc import Iterator

from guest.irq.proc import show_interrupts
from guest.irq.x86_rows import IN_PROC_STAT
from lab.report.check import Check
from lab.report.cut import Cut


def checks(cut: Cut) -> Iterator[Check]:
    """The text of the files against the counters of other layers."""
    tables, online = cut.guest.irq, cut.guest.online
    cpus = [cpu for cpu in range(tables.nr_cpu_ids) if online >> cpu & 1]
    read = parse_interrupts(cut.read("/proc/interrupts"))
    former = sum(words.irq_count for words in cut.guest.vmbus.former)
    every = parse_interrupts(show_interrupts(tables, tables.possible))  # /proc/stat also counts CPUs that are offline
    rows = sum(sum(counts) for label, (counts, _) in every.items() if label.isdigit() or label in IN_PROC_STAT)
    stat = int(cut.read("/proc/stat").split()[1])
    yield Check("total of /proc/stat", "intr", stat, "/proc/interrupts + rows that are gone", rows + former, "I13")
    numbered = {int(label): (counts, text) for label, (counts, text) in read.items() if label.isdigit()}
    kept = {}
    for irq, desc in tables.live():
        counts = [tables.kstat[cpu].counts[irq] for cpu in cpus]
        if desc.action or any(counts):
            name = [desc.action_name] if desc.action and desc.action_name else []
            kept[int(irq)] = (counts, " ".join([desc.chip_name, str(desc.hwirq), *name]))
    if kept:
        yield Check("rows of /proc/interrupts", "parsed", numbered, "IRQ core", kept, "I27")


def parse_interrupts(text: str) -> dict[str, tuple[list[int], str]]:
    """The rows of /proc/interrupts as a tool reads them: by label, the counts and the words behind them."""
    header, *lines = text.splitlines()
    width = len(header.split())
    table = {}
    for line in lines:
        label, _, rest = line.partition(":")
        words = rest.split()
        counts = [int(word) for word in words[:width] if word.isdigit()]
        table[label.strip()] = counts, " ".join(words[width:])
    return table
