"""Drivers and devices from outside the tree, under every policy, without waiting for real time."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from guest.drivers.hv_util.driver import HvUtils
from guest.drivers.hyperv_keyboard.driver import HypervKeyboard
from guest.drivers.storvsc.driver import Storvsc
from host.machine import DeviceSpec
from lab.report import Report
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_KBD_GUID, HV_SCSI_GUID
from tests.outside.authors import ECHO, ECHO_DEVICE, EXAMPLES, at, changed, echo_vm

POLICIES = pytest.mark.parametrize("policy", ["legacy", "rfc"])


async def ran(spec: VmSpec, seconds: float = 0.5) -> tuple[Report, dict[str, int], str]:
    """The report after a while, what the echo device has counted, and the hash of the trace."""
    async with SimulatedVM(spec) as vm:
        await vm.settled()
        await vm.pass_time(seconds)
        report = await vm.report()
        assert not report.failed
        device = vm.host.devices.get("echo")
        return report, device.counts() if device is not None else {}, vm.trace_hash()


@POLICIES
async def test_a_driver_and_a_device_of_ones_own_exchange_packets(policy: str) -> None:
    report, counts, _ = await ran(echo_vm(policy=policy))
    assert counts["sent"] == counts["answered"] > 20
    assert not report.mistakes and not report.warnings and not report.complaints
    (row,) = (row for row in report.channels if row.name == "echo")
    assert row.counted == row.sent >= counts["sent"]
    assert (row.irq > 0) == (policy == "rfc")


async def test_equal_seeds_give_equal_traces_with_them_too() -> None:
    traces = [(await ran(echo_vm(seed=seed)))[2] for seed in (1, 1, 2)]
    assert traces[0] == traces[1] != traces[2]


@POLICIES
async def test_a_driver_of_ones_own_comes_before_that_of_the_tree(policy: str) -> None:
    async with SimulatedVM(VmSpec(vcpus=2, policy=policy, drivers=[str(EXAMPLES / "storvsc_stub.py")])) as vm:
        await vm.settled()
        report = await vm.report()
        assert "storvsc_stub" in [row.name for row in report.channels]
        assert not report.failed and not report.mistakes and not report.warnings
        lines = [str(record[3]) for record in vm.trace() if record[2] == "printk"]
        assert any("storvsc_stub: version 6.2, 262144 bytes in a request" in line for line in lines)


LISTENER = """
from uuid import UUID

from guest.driver_api import PAGE_SIZE, CallbackMode, HvDriver, Packet, Struct, VmbusChannel, VmbusDevice, Word


class Heard(Struct):
    first = Word("channel callback")
    second = Word("channel callback")
    packets = Word("channel callback")


class Listener(HvDriver):
    name = "{name}"
    id_table = (UUID("{class_id}"),)

    async def probe(self, device: VmbusDevice) -> None:
        device.channel.set_read_mode(CallbackMode.BATCHED)
        device.channel.irq_name = "listener"
        await device.channel.open(16 * PAGE_SIZE, 16 * PAGE_SIZE)

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        def hear(packet: Packet) -> None:
            channel.state(Heard).packets += 1

        channel.receive(hear)
"""
"""It hears what a device says and answers nothing."""


@pytest.mark.parametrize(
    ("device", "class_id", "name"),
    [
        (DeviceSpec("heartbeat", "heartbeat"), HV_HEART_BEAT_GUID, HvUtils.name),
        (DeviceSpec("keyboard", "keyboard", options={"every": 0.01}), HV_KBD_GUID, HypervKeyboard.name),
        (DeviceSpec("storvsc", "storvsc1"), HV_SCSI_GUID, Storvsc.name),
    ],
)
async def test_what_a_driver_from_outside_counts_is_its_own_affair(
    device: DeviceSpec, class_id: UUID, name: str, tmp_path: Path
) -> None:
    """Its words are laid out as it likes, and it need not answer; nor does it help to know it by its name."""
    file = tmp_path / "listener.py"
    file.write_text(LISTENER.format(class_id=class_id, name=name))
    report, _, _ = await ran(VmSpec(vcpus=2, devices=[device], drivers=[str(file)]), 5)
    assert "listener" in [row.name for row in report.channels]
    assert not {check.invariant for check in report.checks} & {"L4", "L7", "L9"}
    assert not report.mistakes and not report.warnings


@POLICIES
async def test_a_callback_that_fails_silences_its_channel_and_nobody_else(policy: str, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "words.echoed += 1", "words.echoed += 1 if words.echoed < 10 else 1 // 0")
    async with SimulatedVM(echo_vm(policy=policy, driver=driver)) as vm:
        await vm.settled()
        for _ in range(5):
            await vm.pass_time(1)
            vm.watchdog.check(vm.now())  # nobody reads the ring, and everybody knows why
        report, counts = await vm.report(), vm.host.devices["echo"].counts()
    assert not report.failed
    where = at(driver, "words.echoed +=")
    assert report.mistakes[0].startswith(f"driver {where} ZeroDivisionError: integer division or modulo by zero")
    assert len(report.mistakes) == 1
    assert counts["answered"] < counts["sent"]
    assert any(row.name == "heartbeat" and row.counted for row in report.channels)


@pytest.mark.parametrize("loop", ["pass", "channel.send_packet(b'again')"], ids=["alone", "calling the kernel"])
async def test_an_endless_loop_is_broken_and_named(loop: str, tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "channel.receive(echo)", f"\n        while words.echoed == words.echoed: {loop}")
    report, _, _ = await ran(echo_vm(driver=driver))
    (mistake,) = report.mistakes
    assert mistake.startswith(f"driver {at(driver, 'while words')} SoftLockup: CPU")


DEVICE_MISTAKES = [
    ("self.sent += 1", "self.sent += [][self.sent // 5]", "IndexError: list index out of range"),
    ("self.answered += 1", "self.answered += None", "TypeError: unsupported operand type(s)"),
    ("        self._ping()\n", "        self.pong()\n", "AttributeError: 'EchoDevice' object has no attribute 'pong'"),
]


@pytest.mark.parametrize(("old", "new", "error"), DEVICE_MISTAKES, ids=["timer", "doorbell", "open"])
async def test_a_device_that_fails_is_taken_away_and_its_line_is_named(
    old: str, new: str, error: str, tmp_path: Path
) -> None:
    device = changed(tmp_path, ECHO_DEVICE, old, new)
    report, _, _ = await ran(echo_vm(device=device))
    (mistake,) = report.mistakes
    assert mistake.startswith(f"device {at(device, new.strip())} {error}")
    assert "echo" not in [row.name for row in report.channels]


async def test_a_device_that_cannot_be_closed_is_closed(tmp_path: Path) -> None:
    device = changed(tmp_path, ECHO_DEVICE, "self._timer.cancel()", "self._timer.stop()")
    async with SimulatedVM(echo_vm(device=device)) as vm:
        await vm.settled()
        vm.on_host(lambda: vm.host.rescind("echo"))
        await vm.pass_time(1)
        report = await vm.report()
        assert "echo" not in [row.name for row in report.channels]
        assert [mistake.split(":", 1)[0] for mistake in report.mistakes] == [f"device {device}"]


async def test_what_the_guest_does_wrong_is_not_the_devices_mistake(tmp_path: Path) -> None:
    driver = changed(tmp_path, ECHO, "bytes(packet.payload)", "b'another'")
    report, counts, _ = await ran(echo_vm(driver=driver))
    assert counts["answered"] == 0 and not report.mistakes
    assert report.complaints[0] == "echo: packet 1 came back changed"


async def test_a_driver_that_is_loaded_in_vain_is_warned_about() -> None:
    report, _, _ = await ran(VmSpec(vcpus=2, drivers=[ECHO]))
    (warning,) = report.warnings
    assert warning.startswith(f"{at(ECHO, 'async def probe')} the VM has no device for the driver echo")


@POLICIES
async def test_the_stub_of_netvsc_agrees_with_the_host_and_lends_it_a_buffer(policy: str) -> None:
    nic = DeviceSpec("netvsc", "nic")
    spec = VmSpec(vcpus=2, policy=policy, devices=[nic], drivers=[str(EXAMPLES / "netvsc_stub.py")])
    async with SimulatedVM(spec) as vm:
        await vm.settled()
        lines = [str(record[3]) for record in vm.trace() if record[2] == "printk"]
        assert any("netvsc_stub: NVSP 0x60001, " in line for line in lines), lines
        free = vm.cpus[0].core.pages.free_pages()
        vm.on_host(lambda: vm.host.rescind("nic"))
        await vm.pass_time(1)
        assert vm.cpus[0].core.pages.free_pages() == free + 64 + 64, "rings and buffer are free again"
        report = await vm.report()
        assert not report.failed and not report.mistakes and not report.warnings and not report.complaints
