"""``python -m lab.simulation SPEC [JOURNAL]``: one simulated VM reads and writes its disk; prints the trace hash.

SPEC is a ``VmSpec`` as JSON, what is left out being as in the class. With JOURNAL the decisions of that run are taken
instead of the seed's. Needs nothing but greenlet, msgpack and pydantic, so that any Python can be asked for its hash.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from lab.image import disk_for
from lab.simulation.schedule import RecordedSchedule, Schedule
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.workload import PatternRange, read_disk, write_pattern
from protocol.journal import unpack

IMAGE_BYTES = 128 << 10
SECONDS = 3.0
"""Virtual time that passes behind the workload: heartbeats and time samples."""


async def trace_hash(spec: VmSpec, schedule: Schedule | None = None) -> str:
    """Run the VM of ``spec`` through a small workload; the hash of everything that happened, in order."""
    with disk_for(spec, IMAGE_BYTES) as spec:
        async with SimulatedVM(spec, schedule) as vm:
            await vm.settled()
            await read_disk(vm, lambda what, done, of: None)
            await write_pattern(vm, PatternRange.of(IMAGE_BYTES), lambda what, done, of: None)
            await vm.pass_time(SECONDS)
            await vm.report()
            return vm.trace_hash()


if __name__ == "__main__":
    spec = VmSpec.from_json(json.dumps(json.loads(VmSpec().to_json()) | json.loads(sys.argv[1])))
    recorded = RecordedSchedule.of(unpack(Path(sys.argv[2]).read_bytes())) if len(sys.argv) > 2 else None
    print(asyncio.run(trace_hash(spec, recorded)))
