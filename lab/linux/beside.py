"""The emulated guest in the same VM, to be looked at beside the real kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec

SECONDS: Final = 5.0
"""Virtual time: as long as a boot takes, about."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """A channel of the emulated guest."""

    cpu: int
    interrupts: int


async def emulated(spec: VmSpec) -> dict[int, Emulated]:
    """Its channels by relid, when the devices of the VM have been probed under ``legacy``, as the kernel has them."""
    async with SimulatedVM(replace(spec, policy="legacy", linux=None, trace=None)) as vm:
        await vm.settled()
        await vm.pass_time(SECONDS)
        return {relid: Emulated(words.target_cpu, words.interrupts) for relid, words in vm.guest.channels()}
