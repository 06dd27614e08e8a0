"""Which CPU a channel interrupts, as host, VMBus, IRQ core and files see it (I5 to I8, I18, I25)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from guest.vmbus.words import VMBUS_CONNECT_CPU
from lab.report.check import Check
from lab.report.cut import Cut
from protocol.wire.guids import device_type
from protocol.wire.messages import OfferChannel, decode
from protocol.wire.versions import Dialect, Version

DEVICES: Final = "/sys/bus/vmbus/devices"


def checks(cut: Cut) -> Iterator[Check]:
    """The channels that are in use; what the guest's files say is rendered."""
    guest = cut.guest
    channels = {int(relid): words for relid, words in guest.opened()}
    targets = {relid: words.target_cpu for relid, words in channels.items()}
    synics = sum(port["synic"] << cpu for cpu, port in enumerate(cut.ports))
    allowed = guest.online & synics & cut.topology.housekeeping | 1 << VMBUS_CONNECT_CPU
    fit = {relid: cpu for relid, cpu in targets.items() if allowed >> cpu & 1}
    yield Check("targets", "of channels", targets, "that can be interrupted", fit, "I5")
    host = {channel["relid"]: channel["target_vp"] for _, _, channel in cut.offers() if channel["relid"] in targets}
    yield Check("targets", "guest", targets, "host", host, "I7")
    yield Check(
        "CPUs with a SynIC", "guest", f"{guest.vmbus.connection.synic_online:#x}", "ports", f"{synics:#x}", "I18"
    )
    yield Check("CPUs that are online", "guest", f"{guest.online:#x}", "ports with a SynIC", f"{synics:#x}", "I18")
    if cut.policy.channel_irqs:
        requested = {relid: words for relid, words in channels.items() if words.irq_requested}
        masks = {relid: guest.irq.descs[words.irq].effective_affinity for relid, words in requested.items()}
        wanted = {relid: 1 << words.target_cpu for relid, words in requested.items()}
        yield Check("affinity of IRQs", "effective", masks, "target", wanted, "I6")
        irqs = {
            relid: cut.read(f"/proc/irq/{words.irq}/effective_affinity_list").strip()
            for relid, words in requested.items()
        }
        for file, shown in (("sysfs cpu", _sysfs_cpu(cut)), ("channel_vp_mapping", _mapping(cut))):
            said = {relid: cpu for relid, cpu in shown.items() if relid in requested}
            yield Check(f"{file} of channels", "effective_affinity_list", irqs, file, said, "I8")
    yield _numa(cut)


def _sysfs_cpu(cut: Cut) -> dict[int, str]:
    """``channels/<relid>/cpu`` of every device."""
    return {
        int(relid): cut.read(f"{DEVICES}/{device}/channels/{relid}/cpu").strip()
        for device in cut.files.list(DEVICES)
        for relid in cut.files.list(f"{DEVICES}/{device}/channels")
    }


def _mapping(cut: Cut) -> dict[int, str]:
    """``channel_vp_mapping`` of every device."""
    lines = [
        line.split(":")
        for device in cut.files.list(DEVICES)
        for line in cut.read(f"{DEVICES}/{device}/channel_vp_mapping").splitlines()
    ]
    return {int(relid): vp for relid, vp in lines}


def _numa(cut: Cut) -> Check:
    """A CPU that is not marked may be a target all the same: when all are taken, all are free again."""
    guest = cut.guest
    marked = 0
    for node in guest.vmbus.numa:
        marked |= node.allocated
    used = 0
    dialect = Dialect(Version(guest.vmbus.connection.version or Version.WIN8))
    for _, words in guest.channels():
        offer = decode(words.offer, dialect)
        assert isinstance(offer, OfferChannel)
        used |= device_type(offer.class_id).perf << words.target_cpu
    return Check("NUMA map", "marked", f"{marked:#x}", "marked and a target", f"{marked & used:#x}", "I25")
