"""Frames of random sizes from every CPU on every queue, which somebody sends back: each must return once and intact.

A stream is what one CPU sends on one queue. It is one flow, so it comes back on one queue and in order. A gap is a
loss, unless the device has been taken down or away meanwhile; then the frames under way are *interrupted*.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from guest.kernel.core import Core
from guest.kernel.memory import Struct, Word
from guest.kernel.wait import WaitWords
from guest.net.device import REGISTERED, NetDevice, NetDevices
from guest.net.frame import ETH_HLEN, ETH_ZLEN, Frame
from guest.programs.net_frame import Noise, Stamp, build, read
from guest.programs.program import Program, ProgramCpuWords, ProgramWords

DEFAULT_WINDOW: Final = 32
PATIENCE: Final = 30.0
"""Seconds without any frame back after which those under way are lost."""


class NetLoadWords(ProgramWords):
    """``total``: frames that are to be sent; 0: until it is stopped."""

    stopping = Word("whoever stops it")


class NetLoadCpuWords(ProgramCpuWords):
    """One CPU's sender."""

    damaged = Word("this CPU")
    """Frames that came in here with a wrong checksum."""


class NetLoadSpace(WaitWords):
    """A CPU waits here for its frames to come back."""


class NetLoadStreamWords(Struct):
    """What one CPU sends on one queue. Sequence numbers count from 0."""

    sent = Word("sending CPU")
    bytes = Word("sending CPU")
    given_up = Word("sending CPU")
    """Frames below this number may be lost: the device was not there, or not up, after they had been sent."""
    next = Word("NAPI of the queue")
    """The number that comes back next."""
    returned = Word("NAPI of the queue")
    lost = Word("NAPI of the queue")
    interrupted = Word("NAPI of the queue")
    """Given up, and indeed not come back, as later ones show."""
    bad = Word("NAPI of the queue")
    """Frames that came back twice, or after a later one."""

    @property
    def outstanding(self) -> int:
        """Frames that are still to come back."""
        return self.sent - max(self.next, self.given_up)


class NetLoad(Program):
    """One CPU's part for one device: a sender, and the receiver of what comes back to this CPU, whoever sent it.

    It takes the device up when it is first there, and again when one of the same name comes back. It ends when it is
    stopped, or when each CPU has sent so many frames. Of each stream, sent = returned + lost + interrupted + given up
    since the last that came back + outstanding.
    """

    def __init__(self, core: Core, devices: NetDevices, device: NetDevice) -> None:
        self.words = core.memory.one(NetLoadWords)
        self.cpus = core.memory.table(NetLoadCpuWords, core.cpus)
        super().__init__(core, self.words, self.cpus)
        streams, queues = (
            list(core.memory.table(NetLoadStreamWords, core.cpus * devices.max_queues)),
            devices.max_queues,
        )
        self.streams = [streams[cpu * queues : (cpu + 1) * queues] for cpu in range(core.cpus)]
        self._own = self.cpus[core.cpu]
        self._sending = self.streams[core.cpu]
        self._spaces = [core.wait_queue(space) for space in core.memory.table(NetLoadSpace, core.cpus)]
        self._devices = devices
        self._device = device
        device.receiver = self._receive

    def start(self, frames: int = 0, window: int = DEFAULT_WINDOW, seed: int = 0) -> None:
        """Start this CPU's part: ``frames`` in all, 0 for no end; ``window`` under way at most."""
        with self.starting():
            for stream in self._sending:
                stream.clear()
            if self.on_first_cpu:
                self.words.total = frames * self.core.cpus
                self.spawn(self._conduct(), "net-load")
            self.spawn(self._send(frames, window, Noise(seed, self.core.cpu)), "net-load-send")

    def stop(self) -> None:
        """Send no more, and wait for what is under way; may be asked for on any CPU."""
        self.words.stopping = 1
        self.changed.wake_up()

    def _over(self) -> bool:
        return bool(self.words.stopping or self.words.failed)

    async def _conduct(self) -> None:
        """On the first CPU: take each new device up, until nobody sends any more."""
        words, known = self._device.words, 0

        def is_new() -> bool:
            return words.state == REGISTERED and words.registrations != known and not self._over()

        while not self.is_alone():
            if is_new():
                known = words.registrations
                try:
                    await self._devices.up(self._device)
                except OSError as error:
                    if error.errno == errno.ENODEV:  # it is going already; another may come
                        continue
                    self.fail(f"{self._device.name} does not come up: {error.strerror}")
            await self.changed.wait_event(lambda: self.is_alone() or is_new(), self._device.changed)
        self.end()

    # --- sending, in process context --------------------------------------------------------------------------------

    async def _send(self, frames: int, window: int, noise: Noise) -> None:
        words = self._device.words
        epoch = sent = credit = 0
        while not self._over() and (sent < frames or not frames):
            now = words.epoch
            if now != epoch or not words.running:
                self._give_up()
                epoch, credit = now, 0
                await self._wait(lambda: words.running != 0 or self._over())
                continue
            if not credit:
                credit = window - self._outstanding()
                if credit <= 0:
                    await self._come_back(lambda: self._outstanding() < window or self._over(), epoch)
                    credit = 0
                    continue
            await self._send_one(noise, epoch)
            sent, credit = sent + 1, credit - 1
            await self.core.sched.pause()
        while self._outstanding() and await self._come_back(lambda: not self._outstanding(), epoch):
            if words.epoch != epoch:
                self._give_up()

    async def _send_one(self, noise: Noise, epoch: int) -> None:
        """It counts as sent before it is, for it can come back at once. One that the device drops is given up later."""
        device, core = self._device, self.core
        queue = device.pick_tx(noise.next())
        stream = self._sending[queue]
        frame = Frame.allocate(core.pages, ETH_ZLEN + noise.next() % (device.words.mtu + ETH_HLEN - ETH_ZLEN + 1))
        stamp = Stamp(self._own.run, core.cpu, queue, stream.sent)
        frame.data(core.ram)[:] = build(device.address, stamp, noise.bytes(frame.length))
        stream.bytes += frame.length
        stream.sent += 1
        while not self._devices.transmit(device, queue, frame, epoch):
            await device.woken[queue].wait_event(lambda: not device.queues[queue].stopped)

    def _outstanding(self) -> int:
        return sum(stream.outstanding for stream in self._sending)

    def _give_up(self) -> None:
        """The device is not there, or not the same any more: nothing that was sent to it need come back."""
        for stream in self._sending:
            stream.given_up = stream.sent

    async def _wait(self, condition: Callable[[], bool]) -> None:
        await self._spaces[self.core.cpu].wait_event(condition, self._device.changed, self.changed)

    async def _come_back(self, condition: Callable[[], bool], epoch: int) -> bool:
        """Wait for frames, or for the end of the epoch. False: nothing has happened for long; the program fails."""
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            self.core.wake_parked()

        timer = self.core.call_later(PATIENCE, expire)
        await self._wait(lambda: condition() or late or self._device.words.epoch != epoch)
        timer.cancel()
        if not late or condition():
            return True
        self.fail(f"{self._device.name}: CPU {self.core.cpu} waited {PATIENCE:.0f} s for frames to come back")
        return False

    # --- receiving, in softirq context of whatever CPU polls the queue ----------------------------------------------

    def _receive(self, queue: int, frame: memoryview) -> None:
        """What is not one of ours is not looked at; nor what is left over from an earlier run."""
        stamp = read(frame)
        if stamp is None:
            return
        if stamp.damaged:
            self._own.damaged += 1
            return
        cpu, sequence = stamp.cpu, stamp.sequence
        if cpu >= self.core.cpus or stamp.run != self.cpus[cpu].run & 0xFFFF:
            return
        stream = self.streams[cpu][stamp.queue % len(self.streams[cpu])]
        if not stream.next <= sequence < stream.sent:
            stream.bad += 1
            return
        given_up = stream.given_up
        stream.interrupted += max(0, min(sequence, given_up) - stream.next)
        stream.lost += max(0, sequence - max(stream.next, given_up))
        stream.returned += 1
        stream.next = sequence + 1
        self._spaces[cpu].wake_up()
