"""The emulated guest under ``legacy`` and a real kernel are the same guest to the same host."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from lab import vm_file
from lab.image import disk_for
from lab.linux.differential.compare import Row, Verdict
from lab.linux.differential.run import differences
from lab.linux.vm import MEMORY_MB
from lab.spec import VmSpec
from protocol.wire.versions import Version

IMAGE_BYTES = 4 << 20
PLACEMENT = "channel_vp_mapping"
EQUAL = {
    "messages of the connection",
    PLACEMENT,
    "devices of the bus",
    "/proc/interrupts",
    *(f"relid {relid}: packets" for relid in ("3 (mouse)", "4 (keyboard)")),
    *(f"relid {relid}: packets" for relid in ("7 (heartbeat)", "8 (kvp)", "9 (shutdown)", "10 (timesync)", "11 (vss)")),
    *(f"relid 5 (framebuffer): packets to the {end}" for end in ("host", "guest")),
    *(f"relid {relid} (storvsc): {what}" for relid in (14, 15) for what in ("messages", "handshake", "SCSI commands")),
    "relid 1 (balloon): packets to the guest",
    "relid 13 (netvsc): RNDIS",
}
"""Here something must be equal, besides what may differ there."""
MAY_DIFFER = {
    "order of the VPs",
    "order in which channels are opened",
    "/proc/interrupts",
    "relid 1 (balloon): packets to the host",
    *(f"relid 13 (netvsc): {what}" for what in ("messages", "packets to the host", "packets to the guest")),
    *(f"relid {relid} (storvsc): SCSI commands" for relid in (14, 15)),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """Of the cover letter's VM. ``seed``: the offers come in another order, and so do sub-channels."""

    vcpus: int
    seed: int | None = None
    numa: tuple[tuple[int, ...], ...] = ()
    version: str = "5.3"

    def __str__(self) -> str:
        return f"{self.vcpus}-vcpus-{max(1, len(self.numa))}-nodes-{self.version}-seed-{self.seed}"

    def spec(self, template: VmSpec) -> VmSpec:
        letter = vm_file.load("letter")
        devices, order = list(letter.devices), letter.sub_channel_order
        if self.seed is not None:
            random.Random(self.seed).shuffle(devices)
            order = []
        return replace(
            letter,
            name="diff",
            vcpus=self.vcpus,
            memory_mb=MEMORY_MB,
            linux=template.linux,
            numa=[list(node) for node in self.numa],
            devices=devices,
            sub_channel_order=order,
            host_options={"max_version": int(Version.of(self.version))},
        )


VARIANTS = [
    Variant(1, version="4.0"),
    Variant(2),
    Variant(4, seed=1),
    Variant(4, seed=2, numa=((0, 2), (1, 3))),
]


def places(rows: list[Row], verdict: Verdict) -> set[str]:
    return {row.where for row in rows if row.verdict is verdict}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_every_difference_from_the_real_kernel_is_known(template: VmSpec, variant: Variant) -> None:
    """Placement is among what must be equal, whatever the order of offers (``init_vp_index``)."""
    with disk_for(variant.spec(template), IMAGE_BYTES) as spec:
        rows = await differences(spec)
    assert [row for row in rows if row.verdict is Verdict.UNEXPLAINED] == []
    synics = {f"SynIC of VP {vp}" for vp in range(variant.vcpus)}
    assert places(rows, Verdict.EXPLAINED) <= MAY_DIFFER | synics
    assert places(rows, Verdict.EQUAL) >= EQUAL | synics
    assert {row.verdict for row in rows if row.where == PLACEMENT} == {Verdict.EQUAL}
    sub_channels = {where for where in places(rows, Verdict.EQUAL) if where.startswith("sub-channel")}
    assert len(sub_channels) == (0 if variant.vcpus == 1 else variant.vcpus - 1 + 2)
