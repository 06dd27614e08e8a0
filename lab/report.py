"""The report of a run: what each process counted, and the equations that must hold between them.

The numbers are taken at a consistent cut: the sources are stopped, every VP is fenced, and no envelope crosses the cut.
Each equation compares two numbers that different processes, or different layers of the guest, have counted on their
own; if one is wrong, the two differ and the line is red.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from guest.drivers.hv_util.service import UtilWords
from guest.kernel.oops import Severity
from guest.vmbus.words import ChannelWords
from lab.guest_view import GuestView
from protocol.ids import Irq, Relid

SERVICES = ("heartbeat", "shutdown", "timesync")
"""Kinds of devices that ask, and hear an answer to everything."""


@dataclass(frozen=True, slots=True)
class Check:
    """An equation: who counted what on either side."""

    name: str
    left: str
    left_value: Any
    right: str
    right_value: Any
    highlight: bool = False
    """Worth a line of its own even when it holds."""

    @property
    def holds(self) -> bool:
        return bool(self.left_value == self.right_value)

    def __str__(self) -> str:
        sign = "=" if self.holds else "is not"
        return f"{self.name}: {self.left} {self.left_value} {sign} {self.right} {self.right_value}"


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel of the report."""

    relid: int
    irq: int
    name: str
    target_cpu: int
    sent: int
    merged: int
    counted: int
    dispatched: int
    doorbells: int


@dataclass(slots=True)
class Report:
    """Everything that a run can be judged by; ``to_plain`` is what ``--json`` writes."""

    policy: str
    version: str
    channels: list[ChannelRow]
    checks: list[Check]
    totals: dict[str, int]
    complaints: list[str]
    warnings: list[str] = field(default_factory=list)
    """Of drivers from outside the tree, which went on."""
    mistakes: list[str] = field(default_factory=list)
    """Of drivers and devices from outside the tree: each cost the context, or the device, that made it."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.holds]

    def to_plain(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "channels": [asdict(row) for row in self.channels],
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "totals": self.totals,
            "complaints": self.complaints,
            "warnings": self.warnings,
            "mistakes": self.mistakes,
            **self.facts,
        }


def consistent(host: dict[str, Any], ports: list[dict[str, Any]]) -> bool:
    """No envelope was between two snapshots: what each end has sent, the other has received."""
    return all(
        vp["sent"] == port["received"] and vp["received"] == port["sent"] and port["idle"]
        for vp, port in zip(host["vps"], ports, strict=True)
    )


def make_report(policy: str, host: dict[str, Any], ports: list[dict[str, Any]], guest: GuestView) -> Report:
    """Set up the equations at a consistent cut."""
    rows = [_row(relid, words, host, ports, guest, policy) for relid, words in guest.opened()]
    checks = [
        *_signal_checks(host),
        *_port_checks(host, ports),
        *_interrupt_checks(policy, ports, guest),
        *_dispatch_checks(policy, guest),
        *_channel_checks(policy, rows, host, guest),
        *_service_checks(host, guest),
    ]
    return Report(
        policy,
        host["version"],
        rows,
        checks,
        _totals(host, ports, guest),
        host["complaints"],
        guest.said_of_modules(Severity.WARNING),
        [
            *(f"driver {line}" for line in guest.said_of_modules(Severity.OOPS)),
            *(f"device {line}" for line in host["failures"]),
        ],
    )


def _signal_checks(host: dict[str, Any]) -> Iterator[Check]:
    vps = host["vps"]
    yield Check(
        "signals raised",
        "VMBus channels",
        sum(channel["signals_raised"] + channel["signals_refused"] for channel in host["channels"].values()),
        "hypervisor",
        sum(vp["signals_raised"] for vp in vps),
    )
    for number, vp in enumerate(vps):
        yield Check(
            f"signals towards VP {number}",
            "raised",
            vp["signals_raised"],
            "sent + coalesced + refused",
            vp["signals_sent"] + vp["signals_coalesced"] + vp["signals_refused"],
        )


def _port_checks(host: dict[str, Any], ports: list[dict[str, Any]]) -> Iterator[Check]:
    for number, (vp, port) in enumerate(zip(host["vps"], ports, strict=True)):
        at = f"VP {number}"
        yield Check(f"signals to {at}", "host sent", vp["signals_sent"], "port received", port["signals"])
        yield Check(f"interrupts to {at}", "host sent", vp["ipis_sent"], "port received", port["ipis"])
        yield Check(f"messages to {at}", "host sent", vp["messages_sent"], "port received", port["messages"])
        yield Check(
            f"flags of {at}",
            "port received",
            port["signals"],
            "new + merged + refused",
            port["signals_new"] + port["signals_merged"] + port["signals_refused"],
        )


def _interrupt_checks(policy: str, ports: list[dict[str, Any]], guest: GuestView) -> Iterator[Check]:
    for number, port in enumerate(ports):
        at = f"CPU {number}"
        vmbus, arch = guest.vmbus.cpus[number], guest.irq.arch_stat[number]
        yield Check(
            f"flags cleared on {at}",
            "port set",
            port["signals_new"],
            "scan cleared + still set",
            vmbus.bits_cleared + port["flags_set"],
        )
        yield Check(
            f"messages on {at}",
            "port placed",
            port["messages"] - port["messages_refused"],
            "guest took",
            sum(vmbus.messages) + vmbus.messages_bad,
        )
        hyp = "those with a message" if policy == "rfc" else "all top-level interrupts"
        yield Check(
            f"HYP on {at}",
            "row",
            arch.hyp,
            hyp,
            vmbus.with_message if policy == "rfc" else vmbus.interrupts,
        )
        yield Check(
            f"RES + CAL on {at}",
            "port received",
            port["ipis"] - port["ipis_merged"],
            "rows + pending on an offline CPU",
            arch.res + arch.cal + port["ipis_pending"],
        )
        yield Check(
            f"vectors on {at}",
            "port delivered",
            port["vectors_taken"],
            "handlers ran",
            vmbus.interrupts + arch.res + arch.cal + arch.hvs + port["spurious_vectors"],
        )


def _dispatch_checks(policy: str, guest: GuestView) -> Iterator[Check]:
    """From the scan through the IRQ core, if it is there, to the channels' handlers."""
    for number, (vmbus, irq) in enumerate(zip(guest.vmbus.cpus, guest.irq.cpu_stat, strict=True)):
        handled = vmbus.no_callback + vmbus.dispatched
        pended = irq.pended_no_action + irq.pended_disabled
        runs = irq.irqs_sum + irq.dropped_in_progress + pended - irq.replayed
        yield Check(
            f"flags found by CPU {number}",
            "scan cleared",
            vmbus.bits_cleared,
            "bit 0 + unmapped + rescinded + reached a channel",
            vmbus.bit_zero + vmbus.unmapped + vmbus.rescinded + (runs if policy == "rfc" else handled),
        )
        if policy == "rfc":
            yield Check(f"handlers of CPU {number}", "IRQ core ran", irq.irqs_sum - irq.bad, "channels ran", handled)


def _row(
    relid: Relid,
    words: ChannelWords,
    host: dict[str, Any],
    ports: list[dict[str, Any]],
    guest: GuestView,
    policy: str,
) -> ChannelRow:
    return ChannelRow(
        relid=relid,
        irq=words.irq,
        name=words.irq_name,
        target_cpu=words.target_cpu,
        sent=sum(vp["by_flag"].get(relid, 0) for vp in host["vps"]),
        merged=sum(port["merged"].get(relid, 0) for port in ports),
        counted=sum(guest.irq_counts(Irq(words.irq))) if policy == "rfc" else words.interrupts,
        dispatched=words.interrupts,
        doorbells=words.events,
    )


def _channel_checks(policy: str, rows: list[ChannelRow], host: dict[str, Any], guest: GuestView) -> Iterator[Check]:
    by_relid = {channel["relid"]: channel for channel in host["channels"].values()}
    counted = "row + merged" if policy == "rfc" else "sysfs interrupts + merged"
    for row in rows:
        at = f"relid {row.relid} ({row.name})"
        yield Check(f"signals of {at}", "host sent", row.sent, counted, row.counted + row.merged)
        if policy == "rfc":
            yield Check(f"callbacks of {at}", "row", row.counted, "sysfs interrupts", row.dispatched)
        doorbells = by_relid[row.relid]["doorbells"] if row.relid in by_relid else None
        yield Check(f"doorbells of {at}", "guest rang", row.doorbells, "host heard", doorbells)
        target = by_relid[row.relid]["target_vp"] if row.relid in by_relid else None
        yield Check(f"target of {at}", "guest", row.target_cpu, "host", target)


def _service_checks(host: dict[str, Any], guest: GuestView) -> Iterator[Check]:
    for relid, words in guest.opened():
        for name, device in host["devices"].items():
            if device["kind"] in SERVICES and host["channels"][name]["relid"] == relid:
                tally = device["counts"]
                util = guest.driver_words(words, UtilWords)
                assert isinstance(util, UtilWords)
                yield Check(f"{name} requests", "host sent", tally["sent"], "guest answered", util.answered)
                received = tally["answered"] + tally["late"]
                yield Check(f"{name} answers", "guest answered", util.answered, "host received", received)


def _totals(host: dict[str, Any], ports: list[dict[str, Any]], guest: GuestView) -> dict[str, int]:
    cpus = guest.vmbus.cpus
    return {
        "signals raised": sum(vp["signals_raised"] for vp in host["vps"]),
        "signals coalesced by the host": sum(vp["signals_coalesced"] for vp in host["vps"]),
        "signals refused": sum(vp["signals_refused"] for vp in host["vps"]),
        "signals merged in the page": sum(port["signals_merged"] for port in ports),
        "HYP": sum(arch.hyp for arch in guest.irq.arch_stat),
        "top-level interrupts": sum(cpu.interrupts for cpu in cpus),
        "spurious interrupts": sum(cpu.spurious for cpu in cpus),
        "control messages": sum(vp["messages_sent"] for vp in host["vps"]),
        "envelopes": sum(vp["sent"] + vp["received"] for vp in host["vps"]),
        "acknowledgements": sum(port["acknowledgements"] for port in ports),
        "most unacknowledged": max(vp["most_unacknowledged"] for vp in host["vps"]),
    }
