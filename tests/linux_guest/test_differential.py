"""The emulated guest under ``legacy`` and a real kernel are the same guest to the same host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.image import disk_for
from lab.linux.differential.compare import Row, Verdict
from lab.linux.differential.run import differences
from lab.spec import VmSpec
from protocol.wire.versions import Version

IMAGE_BYTES = 4 << 20
MAY_DIFFER = {"order of the VPs", "order in which channels are opened", "/proc/interrupts"}


def places(rows: list[Row], verdict: Verdict) -> set[str]:
    return {row.where for row in rows if row.verdict is verdict}


@pytest.mark.parametrize(("vcpus", "version"), [(4, "5.3"), (1, "4.0")])
async def test_every_difference_from_the_real_kernel_is_known(template: VmSpec, vcpus: int, version: str) -> None:
    spec = replace(template, name="diff", vcpus=vcpus, host_options={"max_version": int(Version.of(version))})
    with disk_for(spec, IMAGE_BYTES) as with_disk:
        rows = await differences(with_disk)
    assert [row for row in rows if row.verdict is Verdict.UNEXPLAINED] == []
    synics = {f"SynIC of VP {vp}" for vp in range(vcpus)}
    commands = {"SCSI commands of relid 14 (storvsc)"}
    assert places(rows, Verdict.EXPLAINED) <= MAY_DIFFER | synics | commands
    assert places(rows, Verdict.EQUAL) >= synics | commands | {
        "messages of the connection",
        *(f"messages of relid {relid}" for relid in (7, 9, 10, 14)),
        "packets of relid 7 (heartbeat)",
        "packets of relid 9 (shutdown)",
        "packets of relid 10 (timesync)",
        "handshake of relid 14 (storvsc)",
        "channel_vp_mapping",
        "devices of the bus",
        "/proc/interrupts",
    }
