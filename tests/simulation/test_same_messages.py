"""Real processes and the simulation tell the same story: the same control messages, byte for byte."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from lab.api import Vm
from lab.image import disk_for
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.vm import VM
from lab.workload import read_disk
from protocol.journal import unpack


async def boot_and_read(kind: type[Vm], spec: VmSpec) -> None:
    with disk_for(spec, 128 << 10) as with_disk:
        async with kind(with_disk) as vm:  # type: ignore[call-arg]
            await vm.settled()
            await read_disk(vm, lambda what, done, of: None)


def control_messages(journal: Path) -> dict[tuple[str, int], list[bytes]]:
    """What was said, by direction ("post" from the guest, "message" to it) and VP, in order."""
    said: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for record in unpack(journal.read_bytes()):
        if record.event in ("post", "message"):
            vp, _, payload = record.fields
            said[record.event, vp].append(payload)
    return said


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_a_boot_and_a_disk_read_are_the_same_conversation_in_both_shells(policy: str, tmp_path: Path) -> None:
    journals = {}
    for kind in (VM, SimulatedVM):
        journal = journals[kind] = tmp_path / kind.__name__
        await boot_and_read(kind, VmSpec(name=f"same-{policy}", vcpus=3, policy=policy, trace=str(journal)))
    real, simulated = control_messages(journals[VM]), control_messages(journals[SimulatedVM])
    assert len(real["post", 0]) > 10 and len(real["message", 0]) > 10
    assert real == simulated
