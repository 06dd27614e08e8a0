"""A guest with all small drivers on two CPUs, and one device of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from guest.drivers.hid_hyperv.driver import HidHyperv
from guest.drivers.hv_balloon.driver import HvBalloon
from guest.drivers.hv_util.driver import HvUtils
from guest.drivers.hyperv_fb.driver import HypervFb
from guest.drivers.hyperv_keyboard.driver import HypervKeyboard
from guest.kernel.core import Core
from guest.vmbus.device import HvDriver
from host.vsp.device import Device, Offer, VspChannel
from protocol.ram import Ram
from protocol.ring import Packet, PacketType
from tests.guest_drivers.bench import Bench, Line, instance

CPUS = 2
DRIVERS: tuple[type[HvDriver], ...] = (HvUtils, HvBalloon, HypervKeyboard, HidHyperv, HypervFb)


class Host:
    """A device that says what the test tells it to, and keeps what it hears. ``answer`` is called for each packet."""

    def __init__(self, offer: Offer | None = None) -> None:
        self.offer = offer or Offer(instance(2), instance(1))
        self.heard: list[bytes] = []
        self.answer: Callable[[bytes], bytes | None] = lambda payload: None
        self.channel: VspChannel

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self.channel = channel

    def close(self, done: Callable[[], None]) -> None:
        done()

    def counts(self) -> dict[str, int]:
        return {}

    def doorbell(self) -> None:
        packets: list[Packet] = []
        self.channel.incoming.drain(packets.append)
        self.channel.incoming.release()
        for packet in packets:
            self.heard.append(bytes(packet.payload))
            answer = self.answer(bytes(packet.payload))
            if answer is not None:
                self.say(answer)

    def say(self, payload: bytes) -> None:
        self.channel.outgoing.put(PacketType.IN_BAND, payload)
        if self.channel.outgoing.commit():
            self.channel.signal()


def bench_of(ram: Ram) -> Bench:
    def drivers(core: Core, bus: Any) -> list[HvDriver]:
        return [driver(core, bus) for driver in DRIVERS]

    return Bench(ram, CPUS, drivers)


def plug(bench: Bench, device: Device, driver: type[HvDriver], target_cpu: int = 0, relid: int = 1) -> Line:
    """Offered, and not yet probed."""
    return bench.plug(device, DRIVERS.index(driver), relid, target_cpu)


def begin(bench: Bench, line: Line) -> list[BaseException | None]:
    """Start a probe that takes time; what becomes of it."""
    outcome: list[BaseException | None] = []
    channel = line.views[0]
    driver = channel.driver
    assert driver is not None

    async def watched() -> None:
        try:
            await driver.probe(channel.device)
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    bench.cores[0].sched.spawn(watched(), "probe")
    bench.settle()
    return outcome
