"""Real processes and the simulation tell the same story: the same control messages, byte for byte."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from lab.api import Vm
from lab.image import disk_for
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.trace import MessageDecoder
from lab.vm import VM
from lab.workload import read_disk
from protocol.journal import unpack


async def boot_and_read(kind: type[Vm], spec: VmSpec) -> None:
    with disk_for(spec, 128 << 10) as with_disk:
        async with kind(with_disk) as vm:  # type: ignore[call-arg]
            await vm.settled()
            await read_disk(vm, lambda what, done, of: None)


def control_messages(journal: Path) -> dict[tuple[str, int, int | None], list[bytes]]:
    """What was said, by direction ("post" from the guest, "message" to it), VP and channel, in order.

    Probes overlap, so how the channels' conversations interleave is up to the operating system.
    """
    said: dict[tuple[str, int, int | None], list[bytes]] = defaultdict(list)
    decoder = MessageDecoder()
    for record in unpack(journal.read_bytes()):
        if record.event in ("post", "message"):
            vp, _, payload = record.fields
            relid = getattr(decoder.decode(payload), "relid", None)
            said[record.event, vp, relid].append(payload)
    return said


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_a_boot_and_a_disk_read_are_the_same_conversation_in_both_shells(policy: str, tmp_path: Path) -> None:
    journals = {}
    for kind in (VM, SimulatedVM):
        journal = journals[kind] = tmp_path / kind.__name__
        await boot_and_read(kind, VmSpec(name=f"same-{policy}", vcpus=3, policy=policy, trace=str(journal)))
    real, simulated = control_messages(journals[VM]), control_messages(journals[SimulatedVM])
    assert {relid for _, _, relid in real} >= {None, 7, 9, 10, 14}
    assert real == simulated
