"""The differences that are known, each with what in the kernel causes it. Whatever is not here fails the comparison.

Placement is not to differ at all, and messages and handshakes only in what the emulated guest says that it has not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.linux.differential.streams import Item

NOTHING: Final = ""
ANYTHING: Final = "(?s).*"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``emulated`` and ``real`` are regular expressions for what stands on either side, item by item in lines."""

    where: str
    emulated: str
    real: str
    reason: str
    function: str
    """Of the kernel."""

    def fits(self, where: str, emulated: Sequence[Item], real: Sequence[Item]) -> bool:
        """Whether this is the difference that it is about, all of it and nothing else."""
        return (
            re.fullmatch(self.where, where) is not None
            and re.fullmatch(self.emulated, _text(emulated)) is not None
            and re.fullmatch(self.real, _text(real)) is not None
        )


def _text(items: Sequence[Item]) -> str:
    return "\n".join(item.text for item in items)


_INTERRUPTS: Final = "/proc/interrupts"
_COMMANDS: Final = r"relid \d+ \(storvsc\): SCSI commands"
_RECEIVE_BUFFER: Final = "\n".join(
    (
        r"-> GpadlHeader relid=\d+ gpadl=#2 range_buflen={} range_count=1 words=\({}, 26 pages\)",
        r"-> GpadlBody message_number=0 gpadl=#2 .*",
    )
)
_SECTIONS: Final = r"<- SEND_RECV_BUF_COMPLETE .* sections=0x1 offset=0x0 .* sub_allocs={} end_offset={} 0{{24}}"
_CONFIGURATION: Final = r"-> SEND_NDIS_CONFIG type 6 flags 0 40 bytes mtu=0x5ea capabilities={} 0{{40}}"
_CAPABILITIES: Final = r"-> CAPABILITIES_REPORT type 6 flags 0 32 bytes size 32 transaction 2 {}0{{30}}f{{16}}"
_REVALIDATE_AND_READ: Final = "\n".join(
    (
        r"0:0:0 TEST_UNIT_READY .*",
        r"0:0:0 SERVICE_ACTION_IN_16 9e10.* 32 bytes .*",
        r"0:0:0 INQUIRY 120100002400 .*",
        r"0:0:0 MODE_SENSE 1a003f000400 .*",
        r"0:0:0 MODE_SENSE 1a0008000400 .*",
        r"0:0:0 MODE_SENSE 1a0008001000 .*",
        r"(?:0:0:0 READ_10 28.*(?:\n|$))+",
    )
)

EXPLANATIONS: Final = (
    Explanation(
        r"relid \d+ \(netvsc\): messages",
        _RECEIVE_BUFFER.format("2056", "0x100000"),
        _RECEIVE_BUFFER.format("32776", "0x1000000"),
        "a receive buffer of 1 MiB, for memory here is small",
        "netvsc_init_buf",
    ),
    Explanation(
        r"relid \d+ \(netvsc\): packets to the guest",
        _SECTIONS.format("0x250", "0xffd20"),
        _SECTIONS.format("0x2506", "0xfffb7c"),
        "so the host cuts it into fewer sections",
        "netvsc_init_buf",
    ),
    Explanation(
        r"relid \d+ \(netvsc\): packets to the host",
        _CONFIGURATION.format("0x8"),
        _CONFIGURATION.format("0xac"),
        "no virtual function, no teaming with one, no coalesced frames here",
        "negotiate_nvsp_ver",
    ),
    Explanation(
        r"relid \d+ \(balloon\): packets to the host",
        _CAPABILITIES.format("01"),
        _CAPABILITIES.format("1f"),
        "no hot add here",
        "hot_add_enabled",
    ),
    Explanation(
        "order of the VPs",
        ANYTHING,
        r"VP 0(, VP \d)*",
        "the emulated CPUs do it at the same time, as newer kernels do (vmbus_percpu_work)",
        "cpuhp_setup_state",
    ),
    Explanation(
        r"SynIC of VP \d+",
        "SINT2 := 0x200f3",
        "SINT2 := 0xf3",
        "the CPUID of the bridge advises against automatic EOI, which QEMU's local APIC has not; the emulated one has",
        "hv_recommend_using_aeoi",
    ),
    Explanation(
        "order in which channels are opened",
        ANYTHING,
        ANYTHING,
        "the drivers say PROBE_PREFER_ASYNCHRONOUS, so in which order devices are probed is open; here newest first",
        "__driver_attach",
    ),
    Explanation(
        _COMMANDS,
        NOTHING,
        _REVALIDATE_AND_READ,
        "the block layer opens a new disk, which looks at it again, and reads its partition table; no partitions here",
        "disk_scan_partitions, sd_open, read_part_sector",
    ),
    Explanation(
        _COMMANDS,
        NOTHING,
        r"0:0:0 SYNCHRONIZE_CACHE 35.*",
        "the kernel really powers off; the emulated guest only agrees to it",
        "sd_shutdown",
    ),
    Explanation(
        _INTERRUPTS,
        NOTHING,
        r"(?: +\d+: ·.*IO-APIC +\d+-edge      (?:i8042|rtc0|ttyS\d)(?:\n|$))+",
        "devices of QEMU's board",
        "request_irq of the platform's drivers",
    ),
    Explanation(
        _INTERRUPTS,
        NOTHING,
        r" +9: ·.*IO-APIC   9-fasteoi   acpi",
        "ACPI of QEMU's board",
        "acpi_os_install_interrupt_handler",
    ),
    Explanation(
        _INTERRUPTS,
        r"THR: ·.*\nDFR: ·.*\nMCE: ·.*\nMCP: ·.*",
        NOTHING,
        "Debian's kernel for clouds is built without CONFIG_X86_MCE; the emulated one is as the RFC's",
        "arch_show_interrupts",
    ),
    Explanation(
        _INTERRUPTS,
        r"HRE: ·.*\nHVS: ·.*",
        NOTHING,
        "the CPUID of the bridge has no re-enlightenment and no direct timers, so nobody installs their vectors",
        "ms_hyperv_init_platform",
    ),
)
