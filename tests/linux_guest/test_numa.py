"""Where a real kernel puts channels when the machine has NUMA nodes, and where the emulated one does."""

from __future__ import annotations

from dataclasses import replace

from host.machine import DeviceSpec
from lab.image import disk_for
from lab.linux.differential.compare import Verdict
from lab.linux.differential.run import differences
from lab.spec import VmSpec


def controller(name: str, relid: int) -> DeviceSpec:
    return DeviceSpec("storvsc", name, relid)


async def test_controllers_go_round_the_nodes_as_the_kernel_does(template: VmSpec) -> None:
    """``init_vp_index``: one node after the other, in each the lowest processor that has not been given away."""
    services = [device for device in template.devices if device.kind in ("heartbeat", "shutdown", "timesync")]
    controllers = [controller(f"scsi{number}", 20 - number) for number in range(5)]
    numa = [[0, 2], [1, 3]]
    spec = replace(template, name="numa", vcpus=4, numa=numa, devices=[*controllers, *services])
    with disk_for(spec, 4 << 20) as with_disk:
        rows = await differences(with_disk)
    placement = [row for row in rows if row.where == "channel_vp_mapping"]
    assert {row.verdict for row in placement} == {Verdict.EQUAL}
    mapping = dict(pair.split(":") for row in placement for pair in row.emulated.split(", "))
    assert [mapping[str(relid)] for relid in (20, 19, 18, 17, 16)] == ["0", "1", "2", "3", "0"]
