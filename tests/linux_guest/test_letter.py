"""``./launch.sh linux`` with the VM of the cover letter, as anybody would start it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab import vm_file
from lab.image import disk_for
from lab.linux.report import DRIVERS
from lab.linux.run import IMAGE_BYTES, LinuxOptions, run_linux
from lab.linux.vm import MEMORY_MB
from lab.spec import VmSpec
from protocol.errors import ExitCode

VCPUS = 4


async def test_every_driver_binds_and_every_check_holds_beside_the_emulated_guest(
    template: VmSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letter, report = vm_file.load("letter"), tmp_path / "report.json"
    spec = replace(letter, name="letter", vcpus=VCPUS, memory_mb=MEMORY_MB, linux=template.linux)
    with disk_for(spec, IMAGE_BYTES) as with_disk:
        code = await run_linux(with_disk, LinuxOptions(json_path=str(report)))
    plain = json.loads(report.read_text())
    assert [check for check in plain["checks"] if not check["holds"]] == []
    assert code == ExitCode.SUCCESS
    bound = {device["relid"]: device["driver"] for device in plain["devices"]}
    assert bound == {device.relid: DRIVERS[device.kind] for device in letter.devices}
    channels = sorted(channel["relid"] for device in plain["devices"] for channel in device["channels"])
    placed = {check["name"] for check in plain["checks"] if check["name"].startswith("CPU of relid")}
    assert placed == {f"CPU of relid {relid}" for relid in channels}
    assert len(channels) == len(letter.devices) + (VCPUS - 1) + 2
    assert "emulated" in capsys.readouterr().out
