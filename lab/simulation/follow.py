"""A whole run along a course: to its end, then everything to its rest, and the report."""

from __future__ import annotations

from lab.loads import begun_loads
from lab.report import Report
from lab.simulation.course import Course
from lab.simulation.vm import SimulatedVM
from lab.watchdog import LOOK_SECONDS, STRANDED_SECONDS


async def follow(vm: SimulatedVM, course: Course) -> Report:
    """Raises ``VmFailure`` as any run does: a deadlock, a stranded channel, a load that comes to no end.

    The watchdog looks only behind the course: along it the clock leaps.
    """
    vm.until(lambda: course.next is None, "the end of the course")
    loads = begun_loads(vm)
    for load in loads:
        await load.stop()
    await _watch(vm)
    for load in loads:
        await load.ended()
    return await vm.report()


async def _watch(vm: SimulatedVM) -> None:
    """For as long as it takes to know that nobody will look at a channel again."""
    end = vm.now() + STRANDED_SECONDS + LOOK_SECONDS
    while vm.now() < end:
        vm.watchdog.check(vm.now())
        await vm.pass_time(LOOK_SECONDS)
