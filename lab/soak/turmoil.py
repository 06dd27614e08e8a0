"""What a soak does to a VM while it works: moves, removals, closes and opens, a host that answers late, device actions.

Each kind is a task with dice of its own, so that a seed says what each tries, in which order; the operating system says
when. Between two actions a kind waits at the gate, which is closed for every cut.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from lab.api import Vm
from lab.failure import VmFailure
from lab.hotplug import LOOK_SECONDS, PATIENCE_SECONDS, channel_of, offer_again, opened, remove
from lab.soak.tally import Tally
from lab.watchdog import Stranded
from protocol.errors import ExitCode, OperatorError
from protocol.ids import Relid

DEVICES: Final = "/sys/bus/vmbus/devices"
DRIVERS: Final = "/sys/bus/vmbus/drivers"
TOLERATED: Final = frozenset({errno.EINVAL, errno.EIO, errno.ENOENT, errno.ENODEV, errno.EAGAIN})
"""What a write may meet while channels are closed and devices go: nothing to move, nobody there."""
DELAYS: Final[tuple[dict[str, float], ...]] = (
    {},
    {"modify": 0.001},
    {"modify": 0.02},
    {"open": 0.01},
    {"gpadl": 0.01},
    {"modify": 0.1},
)
ACTIONS: Final[dict[str, tuple[str, Callable[[random.Random], dict[str, Any]]]]] = {
    "keyboard": ("type_text", lambda dice: {"text": "".join(dice.choices("abcdefgh ", k=8))}),
    "mouse": ("move", lambda dice: {"x": dice.randrange(32768), "y": dice.randrange(32768)}),
    "kvp": ("enumerate", lambda dice: {"pool": 3}),
    "vss": ("backup", lambda dice: {}),
}
"""By kind of device: an action and its arguments."""


class Gate:
    """Many pass at a time, until somebody wants to be alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()
        self._left = asyncio.Condition()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """While inside, nobody is alone."""
        await self._open.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            async with self._left:
                self._left.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Whoever is inside finishes first; nobody else comes in."""
        self._open.clear()
        try:
            async with self._left:
                await self._left.wait_for(lambda: self._inside == 0)
            yield
        finally:
            self._open.set()


class Turmoil:
    """``kinds`` are the devices of the VM that its guest drives, by name."""

    def __init__(self, vm: Vm, kinds: dict[str, str], seed: int, tally: Tally) -> None:
        self.gate = Gate()
        self._vm = vm
        self._kinds = kinds
        self._seed = seed
        self._tally = tally
        self._locks = {name: asyncio.Lock() for name in kinds}
        self._given_up: set[Relid] = set()
        vm.watchdog.tolerate = self._take_up

    async def run(self) -> None:
        """For ever. Raises ``VmFailure`` when something happens that never should."""
        await asyncio.gather(
            self._repeat("move", 0.005, self._move),
            self._repeat("remove", 0.7, self._remove),
            self._repeat("reopen", 0.5, self._reopen),
            self._repeat("delay", 1.0, self._delay),
            self._repeat("act", 0.2, self._act),
            self._rescue(),
        )

    async def calm(self) -> None:
        """The host answers at once again, as it did before, and what it holds back happens now."""
        await self._vm.operate("options", delay={})
        await self._vm.operate("release")

    async def _repeat(self, what: str, pause: float, action: Callable[[random.Random], Awaitable[None]]) -> None:
        dice = random.Random(f"{self._seed} {what}")
        while True:
            await self._vm.pass_time(pause * dice.uniform(0.2, 1.8))
            async with self.gate.passing():
                await action(dice)

    # --- moves ------------------------------------------------------------------------------------------------------

    async def _move(self, dice: random.Random) -> None:
        """Somebody writes a CPU to one of the files that move a channel."""
        path, text = self._some_move(dice)
        if path is None:
            return
        try:
            written = await self._vm.files.write(path, text.encode())
        except OSError as error:
            if error.errno not in TOLERATED:
                raise VmFailure(ExitCode.CHECK_FAILED, f"writing {text!r} to {path}: {error.strerror}") from None
            self._tally.refusals[errno.errorcode[error.errno or 0]] += 1
            return
        self._tally.moves += 1
        self._tally.defects["D2"] += not written

    def _some_move(self, dice: random.Random) -> tuple[str | None, str]:
        vm = self._vm
        channels = list(vm.guest.opened())
        if not channels:
            return None, ""
        relid, words = dice.choice(channels)
        cpu = dice.randrange(vm.spec.vcpus)
        way = dice.choice(("mask", "list", "sysfs")) if vm.spec.policy == "rfc" else "sysfs"
        if way == "mask":
            return f"/proc/irq/{words.irq}/smp_affinity", f"{1 << cpu:x}\n"
        if way == "list":
            return f"/proc/irq/{words.irq}/smp_affinity_list", f"{cpu}\n"
        with suppress(OSError):  # a device that goes while we look
            for device in vm.files.list(DEVICES):
                if str(relid) in vm.files.list(f"{DEVICES}/{device}/channels"):
                    return f"{DEVICES}/{device}/channels/{relid}/cpu", f"{cpu}\n"
        return None, ""

    # --- devices that go and come back --------------------------------------------------------------------------------

    async def _remove(self, dice: random.Random) -> None:
        """The host takes a device away, and offers it again when the guest has let go of it."""
        name = dice.choice(sorted(self._kinds))
        async with self._locks[name]:
            await self._take_away_and_offer(name)
            self._tally.rescinds += 1

    async def _take_away_and_offer(self, name: str) -> None:
        await remove(self._vm, name)
        await offer_again(self._vm, name)
        await opened(self._vm, name)

    async def _reopen(self, dice: random.Random) -> None:
        """The guest's administrator unbinds a driver and binds it again."""
        name = dice.choice(sorted(self._kinds))
        async with self._locks[name]:
            found = self._driver_of((await channel_of(self._vm, name))["relid"])
            if found is None:
                return
            driver, device = found
            try:
                await self._vm.files.write(f"{DRIVERS}/{driver}/unbind", f"{device}\n".encode())
                await self._without_sub_channels(device)
                await self._vm.files.write(f"{DRIVERS}/{driver}/bind", f"{device}\n".encode())
            except OSError as error:
                if error.errno != errno.EBUSY or self._vm.spec.policy != "rfc":
                    raise VmFailure(ExitCode.CHECK_FAILED, f"reopening {name}: {error.strerror}") from None
                self._tally.defects["D1"] += 1
                await self._take_away_and_offer(name)
            await opened(self._vm, name)
            self._tally.reopens += 1

    async def _without_sub_channels(self, device: str) -> None:
        """The host takes them back when the primary is closed.

        Whoever closes the primary again meanwhile, as a probe that fails does (D1), may wait for ever for one of them
        that is being removed: vmbus_disconnect_ring waits for rescind_event, which a removal does not complete.
        """
        deadline = self._vm.now() + PATIENCE_SECONDS
        while len(self._vm.files.list(f"{DEVICES}/{device}/channels")) > 1:
            if self._vm.now() > deadline:
                raise VmFailure(ExitCode.CHECK_FAILED, f"the sub-channels of {device} have not gone")
            await self._vm.pass_time(LOOK_SECONDS)

    def _driver_of(self, relid: int | None) -> tuple[str, str] | None:
        """Driver and name of the device whose primary channel it is."""
        files = self._vm.files
        for driver in files.list(DRIVERS):
            for device in set(files.list(f"{DRIVERS}/{driver}")) - {"bind", "unbind"}:
                with suppress(OSError):  # another device, that goes while we look
                    if files.read(f"{DEVICES}/{device}/id").decode().strip() == str(relid):
                        return driver, device
        return None

    # --- channels that nobody looks at any more ---------------------------------------------------------------------

    def _take_up(self, stranded: Stranded) -> bool:
        """What R8 strands stays so for ever, and is a defect of the design; anything else is a fault."""
        if stranded.dropped and stranded.relid not in self._given_up:
            self._given_up.add(stranded.relid)
            self._tally.defects["R8 stranded"] += 1
        return stranded.dropped

    async def _rescue(self) -> None:
        """For ever, and at cuts too, which wait for it."""
        while True:
            await self._vm.pass_time(LOOK_SECONDS)
            for relid in list(self._given_up):
                await self.offer_anew(relid)

    async def offer_anew(self, relid: Relid) -> None:
        """Take the device of a stranded channel away, which is as good as losing it, and offer it again."""
        primary = self._vm.guest.vmbus.channels[relid].primary_relid or relid
        for name, lock in self._locks.items():
            async with lock:
                if (await channel_of(self._vm, name))["relid"] == primary:
                    await self._take_away_and_offer(name)
        self._given_up.remove(relid)

    async def nothing_unread(self) -> None:
        """Wait until the guest has read what the host has said, if need be of devices that are offered anew."""
        while self._given_up or self._vm.watchdog.unread:
            await self._vm.pass_time(LOOK_SECONDS)

    # --- the host ---------------------------------------------------------------------------------------------------

    async def _delay(self, dice: random.Random) -> None:
        """From now on the host takes its time over something."""
        await self._vm.operate("options", delay=dice.choice(DELAYS))
        self._tally.late += 1

    async def _act(self, dice: random.Random) -> None:
        """A device does something of its own; it may be closed just now, or have something in hand."""
        able = sorted(name for name, kind in self._kinds.items() if kind in ACTIONS)
        if not able:
            return
        name = dice.choice(able)
        action, arguments = ACTIONS[self._kinds[name]]
        if self._locks[name].locked():
            return
        async with self._locks[name]:
            try:
                await self._vm.operate("act", name=name, action=action, **arguments(dice))
            except OperatorError:
                return
            self._tally.actions += 1
