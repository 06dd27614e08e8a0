"""Each VP: what the host sent it, what its port received, and what that became (I2, I10, L1, L2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.report.check import Check
from lab.report.cut import Cut


@dataclass(frozen=True, slots=True)
class VpRow:
    """One VP of the report: host, port, and the guest's CPU."""

    vp: int
    signals_raised: int
    signals_coalesced: int
    signals_sent: int
    signals_merged: int
    flags_cleared: int
    interrupts: int
    spurious: int
    messages_sent: int
    messages_taken: int
    hyp: int
    ipis: int
    envelopes: int
    acknowledgements: int
    most_unacknowledged: int


def rows(cut: Cut) -> list[VpRow]:
    """The VPs in order."""
    return [
        VpRow(
            vp=number,
            signals_raised=vp["signals_raised"],
            signals_coalesced=vp["signals_coalesced"],
            signals_sent=vp["signals_sent"],
            signals_merged=port["signals_merged"],
            flags_cleared=cpu.bits_cleared,
            interrupts=cpu.interrupts,
            spurious=cpu.spurious,
            messages_sent=vp["messages_sent"],
            messages_taken=sum(cpu.messages) + cpu.messages_bad,
            hyp=arch.hyp,
            ipis=vp["ipis_sent"],
            envelopes=vp["sent"] + vp["received"],
            acknowledgements=port["acknowledgements"],
            most_unacknowledged=vp["most_unacknowledged"],
        )
        for number, (vp, port, cpu, arch) in enumerate(
            zip(cut.vps, cut.ports, cut.guest.vmbus.cpus, cut.guest.irq.arch_stat, strict=True)
        )
    ]


def totals(cut: Cut) -> dict[str, int]:
    """The VM as a whole."""
    of = rows(cut)
    return {
        "signals raised": sum(row.signals_raised for row in of),
        "signals coalesced by the host": sum(row.signals_coalesced for row in of),
        "signals refused": sum(vp["signals_refused"] for vp in cut.vps),
        "signals merged in the page": sum(row.signals_merged for row in of),
        "HYP": sum(row.hyp for row in of),
        "top-level interrupts": sum(row.interrupts for row in of),
        "spurious interrupts": sum(row.spurious for row in of),
        "control messages": sum(row.messages_sent for row in of),
        "envelopes": sum(row.envelopes for row in of),
        "acknowledgements": sum(row.acknowledgements for row in of),
        "most unacknowledged": max(row.most_unacknowledged for row in of),
    }


def checks(cut: Cut) -> Iterator[Check]:
    """From the hypervisor through the port into the guest's pages."""
    online = cut.guest.online
    yield Check(
        "event flags that are set",
        "in the pages of all CPUs",
        sum(len(port["flags"]) for port in cut.ports),
        "of online CPUs",
        sum(len(port["flags"]) for cpu, port in enumerate(cut.ports) if online >> cpu & 1),
        "I2",
    )
    for number, (vp, port) in enumerate(zip(cut.vps, cut.ports, strict=True)):
        at = f"VP {number}"
        counted = vp["signals_sent"] + vp["signals_coalesced"] + vp["signals_refused"]
        yield Check(
            f"signals towards {at}", "raised", vp["signals_raised"], "sent + coalesced + refused", counted, "I10"
        )
        yield Check(f"signals to {at}", "host sent", vp["signals_sent"], "port received", port["signals"], "L1")
        yield Check(f"interrupts to {at}", "host sent", vp["ipis_sent"], "port received", port["ipis"], "L1")
        yield Check(f"messages to {at}", "host sent", vp["messages_sent"], "port received", port["messages"], "L1")
        sorted_out = port["signals_new"] + port["signals_merged"] + port["signals_refused"]
        yield Check(f"flags of {at}", "port received", port["signals"], "new + merged + refused", sorted_out, "I10")
    for number, port in enumerate(cut.ports):
        at = f"CPU {number}"
        vmbus, arch = cut.guest.vmbus.cpus[number], cut.guest.irq.arch_stat[number]
        found = vmbus.bits_cleared + len(port["flags"])
        yield Check(f"flags cleared on {at}", "port set", port["signals_new"], "scan cleared + still set", found, "I10")
        received = port["ipis"] - port["ipis_merged"]
        taken = arch.res + arch.cal + port["ipis_pending"]
        yield Check(f"RES + CAL on {at}", "port received", received, "rows + pending on an offline CPU", taken, "L2")
        ran = vmbus.interrupts + arch.res + arch.cal + arch.hvs + port["spurious_vectors"]
        yield Check(f"vectors on {at}", "port delivered", port["vectors_taken"], "handlers ran", ran, "L2")
