"""``soak``: start a VM, keep everything busy, let everything move, and at intervals check that all of it adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.failure import VmFailure
from lab.image import images_of
from lab.load_checks import load_checks
from lab.loads import Load, loads_of
from lab.report import Report
from lab.soak.tally import DEFECTS, Tally
from lab.soak.turmoil import Turmoil
from lab.soak.vitals import Vitals
from lab.vm import VM
from protocol.errors import ExitCode

LOOK_SECONDS: Final = 0.1
WARM_UP_CUTS: Final = 2
"""After so many cuts caches are full: from then on processes may not grow any more."""
MAX_GROWTH: Final = 0.25
"""Of the private memory since then, over the whole soak."""


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """Seconds; ``interval`` is between two lines of statistics, ``cut`` between two cuts."""

    duration: float
    interval: float
    cut: float


class SoakFailed(VmFailure):
    """What the soak is there to find."""


@dataclass(slots=True)
class Line:
    """What is printed at intervals: rates since the last line, counts since the start."""

    seconds: float
    interrupts: float
    rates: dict[str, float]
    tally: Tally
    vitals: Vitals

    def __str__(self) -> str:
        tally = self.tally
        rates = "  ".join(f"{name} {rate:7.0f}/s" for name, rate in self.rates.items())
        defects = " ".join(f"{name} {count}" for name, count in sorted(tally.defects.items()) if count) or "none"
        return (
            f"{self.seconds:7.1f} s  interrupts {self.interrupts:7.0f}/s  {rates}  moved {tally.moves}  "
            f"removed {tally.rescinds}  reopened {tally.reopens}  late {tally.late}  actions {tally.actions}  "
            f"cuts {tally.cuts}  defects {defects}  "
            f"{self.vitals.private_bytes / (1 << 20):.0f} MiB  {self.vitals.descriptors} fds"
        )


class Soak:
    """One soak of one VM. ``say`` prints a line."""

    def __init__(self, vm: VM, options: SoakOptions, say: Callable[[str], None]) -> None:
        self._vm = vm
        self._loads: list[Load] = []
        self._options = options
        self._say = say
        self.tally = Tally()
        self._pids = list(vm.info.pids.values())
        self._base: Vitals | None = None

    async def run(self) -> Report:
        """Until the duration is over; the last cut's report. Raises ``SoakFailed`` for what must never happen."""
        try:
            return await self._run()
        except VmFailure as failure:
            raise SoakFailed(failure.code, str(failure)) from None

    async def _run(self) -> Report:
        vm = self._vm
        await vm.settled()
        self._loads = loads_of(vm)
        host = await vm.host("snapshot")
        driven = (name for name in host["devices"] if host["channels"][name]["state"] == "OPEN")
        kinds = {name: host["devices"][name]["kind"] for name in driven}
        turmoil = Turmoil(vm, kinds, vm.spec.seed, self.tally)
        await self._start_loads()
        course = asyncio.ensure_future(self._course(turmoil))
        others = [asyncio.ensure_future(work) for work in (turmoil.run(), self._watch())]
        try:
            done, _ = await asyncio.wait((course, *others), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return course.result()
        finally:
            for task in (course, *others):
                task.cancel()
            await asyncio.gather(course, *others, return_exceptions=True)

    async def _course(self, turmoil: Turmoil) -> Report:
        """Lines and cuts, until the duration is over; the last cut's report."""
        vm, options = self._vm, self._options
        began = vm.now()
        next_line, next_cut = began + options.interval, began + options.cut
        self._remember(began)
        while vm.now() - began < options.duration:
            await vm.pass_time(LOOK_SECONDS)
            if vm.now() >= next_line:
                self._say(str(self._line(began)))
                next_line += options.interval
            if vm.now() >= next_cut:
                await self._cut(turmoil)
                next_cut = vm.now() + options.cut
        return await self._cut(turmoil, last=True)

    async def _watch(self) -> None:
        """For ever, at cuts too. Raises ``VmFailure`` for what is waited for and does not come."""
        while True:
            await self._vm.pass_time(LOOK_SECONDS)
            self._vm.watchdog.check(self._vm.now())

    # --- loads ------------------------------------------------------------------------------------------------------

    async def _start_loads(self) -> None:
        """When every device is there: a disk is found some time after its controller has been opened."""
        await self._vm.settled()
        for load in self._loads:
            await load.start()

    async def _stop_loads(self) -> None:
        """Each ends with nothing under way. Raises ``VmFailure`` for data that was damaged or lost."""
        for load in self._loads:
            await load.stop()
        for load in self._loads:
            await load.ended()

    # --- cuts -------------------------------------------------------------------------------------------------------

    async def _cut(self, turmoil: Turmoil, last: bool = False) -> Report:
        """Everybody stands still, and the equations are set up. Raises ``VmFailure`` for one that does not hold."""
        async with turmoil.gate.alone():
            await turmoil.calm()
            await self._stop_loads()
            await turmoil.nothing_unread()
            report = await self._vm.report()
            report.checks += load_checks(self._vm.memory, images_of(self._vm.spec))
            self.tally.cuts += 1
            self.tally.defects["R8"] = sum(cpu.dropped_in_progress for cpu in self._vm.guest.irq.cpu_stat)
            self.tally.defects["D5"] = sum(check.defect == "D5" for check in report.defects)
            if report.failed:
                raise VmFailure(ExitCode.CHECK_FAILED, "; ".join(map(str, report.failed[:3])))
            self._check_vitals()
            if not last:
                await self._start_loads()
        return report

    def _check_vitals(self) -> None:
        vitals = Vitals.of(self._pids)
        if self.tally.cuts <= WARM_UP_CUTS or self._base is None:
            self._base = vitals
        elif vitals.descriptors > self._base.descriptors:
            raise VmFailure(
                ExitCode.CHECK_FAILED,
                f"file descriptors leak: {self._base.descriptors} at cut {WARM_UP_CUTS}, now {vitals.descriptors}",
            )
        elif vitals.private_bytes > self._base.private_bytes * (1 + MAX_GROWTH):
            before, now = self._base.private_bytes >> 20, vitals.private_bytes >> 20
            raise VmFailure(ExitCode.CHECK_FAILED, f"memory leaks: {before} MiB at cut {WARM_UP_CUTS}, now {now} MiB")

    # --- statistics -------------------------------------------------------------------------------------------------

    def _remember(self, now: float) -> None:
        self._at = now
        self._interrupts = self._count_interrupts()
        self._done = {load.name: load.done() for load in self._loads}

    def _count_interrupts(self) -> int:
        return sum(cpu.interrupts for cpu in self._vm.guest.vmbus.cpus)

    def _line(self, began: float) -> Line:
        at, interrupts, done = self._at, self._interrupts, self._done
        now = self._vm.now()
        self._remember(now)
        seconds = now - at
        rates = {name: (count - done[name]) / seconds for name, count in self._done.items()}
        return Line(now - began, (self._interrupts - interrupts) / seconds, rates, self.tally, Vitals.of(self._pids))


def verdict(tally: Tally) -> list[str]:
    """The defects that were met, each in words."""
    return [f"{name} {count} times: {DEFECTS[name]}" for name, count in sorted(tally.defects.items()) if count]
