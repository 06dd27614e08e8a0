"""Channels, their IRQs and their relids come and go together (I3, I4, I19, I20, I21, I28)."""

from __future__ import annotations

from collections.abc import Iterator

from guest.vmbus.policy import Policy
from lab.report.check import Check
from lab.report.cut import Cut

UNWANTED = "unsupported"
"""The kind of devices that only other guests drive."""
KEPT_IRQ = "D1"
"""The RFC as posted leaves the IRQ of a closed channel requested, so that it cannot be opened again."""


def checks(cut: Cut) -> Iterator[Check]:
    """Host, VMBus, and IRQ core each have their own list of channels."""
    guest, policy = cut.guest, cut.policy
    channels = {int(relid): words for relid, words in guest.channels()}
    offered = {channel["relid"]: kind for _, kind, channel in cut.offers() if channel["relid"] is not None}
    unwanted = (
        {relid for relid, kind in offered.items() if kind == UNWANTED} if policy.drops_unsupported_offers else set()
    )
    known = {relid: "" for relid in sorted(offered) if relid not in unwanted}
    yield Check("relids", "host has given out", known, "guest has channels", dict.fromkeys(channels, ""), "I20")
    for cpu, port in enumerate(cut.ports):
        if not guest.online >> cpu & 1:
            continue  # it looks again when it comes online
        handlers = dict.fromkeys(port["handlers"], "")
        yield Check(f"relids on CPU {cpu}", "with a handler", handlers, "channels", dict.fromkeys(channels, ""), "I4")
    mapped = guest.mapped_relids()
    if policy.channel_irqs:
        irqs = {words.irq: relid for relid, words in channels.items()}
        descs = {int(irq): desc.hwirq for irq, desc in guest.irq.live() if desc.domain}
        yield Check("IRQs of channels", "channels", irqs, "IRQ core", descs, "I3")
        yield Check("relid map", "mapped", mapped, "channels", {r: w.irq for r, w in channels.items()}, "I4")
        yield from _closed(cut)
    if policy.drops_unsupported_offers:
        clean = {relid for relid in unwanted if relid not in channels and relid not in mapped}
        yield Check("unwanted offers", "of the host", len(unwanted), "without a trace", len(clean), "I28")


def _closed(cut: Cut) -> Iterator[Check]:
    """What a channel that is not open has left in the IRQ core."""
    guest = cut.guest
    channels = {int(relid): words for relid, words in guest.channels()}
    opened = {int(relid): words.irq for relid, words in guest.opened()}
    requested = {relid: words.irq for relid, words in channels.items() if guest.irq.descs[words.irq].action}
    closed_by_host = {c["relid"] for _, _, c in cut.offers() if c["opens"] and c["state"] != "OPEN"}
    extra = set(requested) - set(opened)
    kept = cut.policy is Policy.RFC and bool(extra) and extra <= closed_by_host and set(opened) <= set(requested)
    yield Check(
        "IRQs requested", "IRQ core", requested, "open channels", opened, "I19", defect=KEPT_IRQ if kept else ""
    )
    closed = {relid: words.irq for relid, words in channels.items() if relid not in opened}
    clean = {
        relid: irq
        for relid, irq in closed.items()
        if not guest.irq.descs[irq].affinity_hint and not guest.irq.descs[irq].action
    }
    yield Check(
        "closed channels", "there are", closed, "without hint and action", clean, "I21", defect=KEPT_IRQ if kept else ""
    )
    names = cut.files.list("/proc/irq")
    directories = {int(irq): "" for irq in names if irq.isdigit() and guest.irq.descs[int(irq)].domain}
    ever = {words.irq: "" for relid, words in channels.items() if relid in requested or _opens(cut, relid)}
    yield Check("/proc/irq", "directories", directories, "channels that were opened", ever, "I20")


def _opens(cut: Cut, relid: int) -> bool:
    """Whether the channel that has this relid now was ever opened, as the host knows."""
    return any(channel["relid"] == relid and channel["opens"] for _, _, channel in cut.offers())
