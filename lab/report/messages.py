"""Control messages by type, both directions, each counted at both ends (I15, I26)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.report.check import Check
from lab.report.cut import Cut
from protocol.wire.messages import REGISTRY, ModifyChannel, ModifyChannelResponse
from protocol.wire.versions import Version


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One type of message: how often its sender says it was sent, and its receiver that it came."""

    name: str
    number: int
    to_host: bool
    posted: int
    processed: int


def rows(cut: Cut) -> list[MessageRow]:
    """The types that were used, by number."""
    cpus = cut.guest.vmbus.cpus
    table = []
    for number, kind in sorted(REGISTRY.items()):
        taken, posted = sum(cpu.messages[number] for cpu in cpus), sum(cpu.posted[number] for cpu in cpus)
        heard, said = cut.host["heard"].get(kind.name, 0), cut.host["said"].get(kind.name, 0)
        ends = (posted, heard) if kind.to_host else (said, taken)
        if any(ends):
            table.append(MessageRow(kind.name, number, kind.to_host, *ends))
    return table


def checks(cut: Cut) -> Iterator[Check]:
    """By type, in the slot of each CPU, and for MODIFYCHANNEL what the guest itself counts of it (patch 11)."""
    for row in rows(cut):
        sender, receiver = ("guest posted", "host heard") if row.to_host else ("host said", "guest took")
        yield Check(f"{row.name}", sender, row.posted, receiver, row.processed, "I26")
    for number, (port, cpu) in enumerate(zip(cut.ports, cut.guest.vmbus.cpus, strict=True)):
        placed = port["messages"] - port["messages_refused"]
        taken = sum(cpu.messages) + cpu.messages_bad
        yield Check(f"messages on CPU {number}", "port placed", placed, "guest took", taken, "I26")
    if not cut.policy.counts_modifychannels:
        return
    words = cut.guest.vmbus.connection
    heard, said = cut.host["heard"].get(ModifyChannel.name, 0), cut.host["said"].get(ModifyChannelResponse.name, 0)
    yield Check("MODIFYCHANNEL sent", "guest sent", words.modchan_sent, "host received", heard, "I15")
    yield Check("MODIFYCHANNEL answered", "guest completed", words.modchan_completed, "host answered", said, "I15")
    if words.version >= Version.V5_3:
        sent, completed = words.modchan_sent, words.modchan_completed
        overtaken = "D5" if sent == completed + cut.host["overtaken"] else ""
        yield Check("MODIFYCHANNEL at rest", "sent", sent, "completed", completed, "I15", defect=overtaken)
