"""Each channel, over all the channels that its relid has had: what host and guest counted of it (I9, I10, L3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.report.check import Check
from lab.report.cut import Cut
from protocol.ids import Relid

DOORBELL_RELID = 0xFFF
"""The relid in the connection id of a doorbell."""


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One relid of the report. ``sent`` to ``doorbells`` count since the VM started, bytes since the last open."""

    relid: int
    irq: int
    name: str
    target_cpu: int
    opens: int
    sent: int
    merged: int
    counted: int
    uncounted: int
    """Flags cleared that no row counts: no channel, rescinded, no callback (legacy), dropped or pended by the IRQ."""
    dispatched: int
    no_callback: int
    bad: int
    """Counted after its IRQ was given up (``handle_bad_irq``)."""
    pending: int
    doorbells: int
    heard: int
    bytes_to_guest: int
    bytes_to_host: int


def rows(cut: Cut) -> list[ChannelRow]:
    """By relid, those of channels that are gone among them."""
    return [_row(cut, relid) for relid in cut.relids()]


def _row(cut: Cut, relid: Relid) -> ChannelRow:
    guest = cut.guest
    words, former = guest.vmbus.channels[relid], guest.vmbus.former[relid]
    live = words.live
    interrupts = former.interrupts + live * words.interrupts
    no_callback = former.no_callback + live * words.no_callback
    uncounted = sum(cpu.unreached[relid] for cpu in guest.vmbus.cpus)
    counted, bad = interrupts, 0
    if cut.policy.channel_irqs:
        desc = guest.irq.descs[words.irq]
        counted = former.irq_count + (cut.row(words.irq) if live else 0)
        uncounted += former.irq_uncounted + live * (desc.dropped_in_progress + desc.pended - desc.replayed)
        bad = former.irq_bad + live * desc.bad
    else:
        uncounted += no_callback
    host: dict[str, Any] = cut.host["relids"].get(relid, {})
    channel = next((channel for _, _, channel in cut.offers() if channel["relid"] == relid), {})
    return ChannelRow(
        relid=relid,
        irq=words.irq if live else 0,
        name=cut.name_of(relid),
        target_cpu=words.target_cpu,
        opens=host.get("opens", 0),
        sent=sum(vp["by_flag"].get(relid, 0) for vp in cut.vps),
        merged=sum(port["merged"].get(relid, 0) for port in cut.ports),
        counted=counted,
        uncounted=uncounted,
        dispatched=interrupts,
        no_callback=no_callback,
        bad=bad,
        pending=sum(relid in port["flags"] for port in cut.ports),
        doorbells=former.events + live * words.events,
        heard=host.get("doorbells", 0) + _unheard(cut, relid),
        bytes_to_guest=channel.get("bytes_written", 0),
        bytes_to_host=channel.get("bytes_read", 0),
    )


def _unheard(cut: Cut, relid: Relid) -> int:
    unheard: dict[int, int] = cut.host["unheard"]
    return sum(count for connection, count in unheard.items() if connection & DOORBELL_RELID == relid)


def checks(cut: Cut) -> Iterator[Check]:
    """What the host has sent and heard is what the guest has counted and rung, whatever became of the channel."""
    raised = sum(counts["signals_raised"] + counts["signals_refused"] for counts in cut.host["relids"].values())
    hypervisor = sum(vp["signals_raised"] for vp in cut.vps)
    yield Check("signals raised", "VMBus channels", raised, "hypervisor", hypervisor, "I10")
    counted = "row" if cut.policy.channel_irqs else "sysfs interrupts"
    for row in rows(cut):
        at = f"relid {row.relid} ({row.name})"
        became = row.counted + row.uncounted + row.merged + row.pending
        yield Check(f"signals of {at}", "host sent", row.sent, f"{counted} + dropped + merged", became, "I10")
        if cut.policy.channel_irqs:
            ran = row.dispatched + row.no_callback + row.bad
            yield Check(f"callbacks of {at}", "row", row.counted, "sysfs interrupts + no callback", ran, "I9")
        yield Check(f"doorbells of {at}", "guest rang", row.doorbells, "host heard", row.heard, "L3")
