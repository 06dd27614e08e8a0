"""The report of a boot: what the real kernel counted, against what the host counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from lab.failure import VmFailure
from lab.linux import sysfs
from lab.linux.sysfs import GuestDevice
from lab.linux.vm import LinuxVm
from lab.report import Check
from lab.report.services import SERVICES
from protocol.errors import ExitCode, OperatorError

DRIVERS: Final = {
    "heartbeat": "hv_utils",
    "shutdown": "hv_utils",
    "timesync": "hv_utils",
    "kvp": "hv_utils",
    "vss": "hv_utils",
    "balloon": "hv_balloon",
    "mouse": "hid_hyperv",
    "keyboard": "hyperv_keyboard",
    "framebuffer": "hyperv_fb",
    "storvsc": "hv_storvsc",
    "netvsc": "hv_netvsc",
    "unsupported": "",
}
"""Which driver of Linux binds to a kind of device."""
CUT_ATTEMPTS: Final = 50
CLOCK_SECONDS: Final = 2
"""How far the guest's clock may be off: it shows whole seconds, and the answer takes its time."""


@dataclass(slots=True)
class LinuxReport:
    """Everything that a boot can be judged by; ``to_plain`` is what ``--json`` writes."""

    kernel: str
    version: str
    vcpus: int
    devices: list[GuestDevice]
    interrupts: str
    checks: list[Check]
    complaints: list[str]
    ports: list[dict[str, Any]]
    host: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.holds]

    def to_plain(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "version": self.version,
            "vcpus": self.vcpus,
            "devices": [
                {
                    "relid": device.relid,
                    "name": device.name,
                    "class_id": str(device.class_id),
                    "instance_id": str(device.instance_id),
                    "driver": device.driver,
                    "channels": [asdict(channel) for channel in device.channels],
                }
                for device in self.devices
            ],
            "interrupts": self.interrupts,
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "complaints": self.complaints,
            "ports": self.ports,
            "host": self.host,
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class Cut:
    """Host, ports and guest at one moment at which nothing is under way between them."""

    host: dict[str, Any]
    ports: list[dict[str, Any]]
    devices: list[GuestDevice]


async def cut(vm: LinuxVm) -> Cut:
    """Stop the host's sources, and look until both ends say the same before and after the guest has been asked."""
    await _look_away(vm)
    await vm.host("quiesce")
    try:
        for _ in range(CUT_ATTEMPTS):
            await vm.host("fence")
            before = await vm.host("snapshot")
            devices = await sysfs.devices(vm)
            ports = await vm.bridge("snapshot")
            after = await vm.host("snapshot")
            if before["vps"] == after["vps"] and all(
                vp["sent"] == port["received"] and vp["received"] == port["sent"]
                for vp, port in zip(after["vps"], ports, strict=True)
            ):
                return Cut(after, ports, devices)
        raise VmFailure(ExitCode.CHECK_FAILED, "the VM did not come to rest: no consistent cut was found")
    finally:
        await vm.host("resume")


async def _look_away(vm: LinuxVm) -> None:
    """Ask for no more changes of the picture: a console's driver tells of them twenty times a second."""
    for name, device in (await vm.host("snapshot"))["devices"].items():
        if device["kind"] == "framebuffer":
            with suppress(OperatorError):  # nobody shows a picture there
                await vm.host("act", name=name, action="watch", dirt=False)


async def make_report(vm: LinuxVm) -> LinuxReport:
    """Ask all three, and compare."""
    at = await cut(vm)
    checks = [
        Check("protocol", "guest", await sysfs.negotiated_version(vm), "host", at.host["version"], highlight=True),
        *_device_checks(at),
        *_channel_checks(at),
        *_service_checks(at.host),
        *_port_checks(at),
        await _clock_check(vm),
        Check("guest's log", "lines of trouble", await sysfs.troubles(vm), "expected", []),
    ]
    return LinuxReport(
        kernel=(await vm.run("uname -r")).strip(),
        version=at.host["version"],
        vcpus=vm.spec.vcpus,
        devices=at.devices,
        interrupts=await vm.read_file("/proc/interrupts"),
        checks=checks,
        complaints=at.host["complaints"],
        ports=at.ports,
        host=at.host,
    )


def _device_checks(at: Cut) -> Iterator[Check]:
    by_relid = {device.relid: device for device in at.devices}
    for name, offered in at.host["devices"].items():
        relid = at.host["channels"][name]["relid"]
        device = by_relid.pop(relid, None)
        yield Check(f"device {name}", "host offers relid", relid, "guest has", device and device.relid)
        if device is not None:
            expected = DRIVERS.get(offered["kind"], "")
            yield Check(f"driver of {name}", "bound", device.driver, "expected", expected, highlight=True)
            yield Check(
                f"channels of {name}",
                "host offers relids",
                _relids(at.host["channels"], name),
                "guest has",
                sorted(channel.relid for channel in device.channels),
            )
    yield Check("devices that nobody offered", "guest has", sorted(by_relid), "expected", [])


def _relids(channels: dict[str, dict[str, Any]], name: str) -> list[int]:
    """The primary's and its sub-channels', which are named after it."""
    mine = (channel["relid"] for other, channel in channels.items() if other.partition(".")[0] == name)
    return sorted(relid for relid in mine if relid is not None)


def _channel_checks(at: Cut) -> Iterator[Check]:
    by_relid = {channel["relid"]: channel for channel in at.host["channels"].values()}
    for device in at.devices:
        for channel in device.channels:
            host = by_relid.get(channel.relid)
            if host is None or host["state"] != "OPEN":
                continue
            where = f"relid {channel.relid} ({device.name})"
            sent = sum(vp["by_flag"].get(channel.relid, 0) for vp in at.host["vps"])
            merged = sum(port["merged"].get(channel.relid, 0) for port in at.ports)
            yield Check(
                f"signals of {where}", "host sent", sent, "guest's interrupts + merged", channel.interrupts + merged
            )
            yield Check(f"doorbells of {where}", "guest's events", channel.events, "host heard", host["doorbells"])
            yield Check(f"target of {where}", "guest", channel.cpu, "host", host["target_vp"])


def _service_checks(host: dict[str, Any]) -> Iterator[Check]:
    for name, device in host["devices"].items():
        if device["kind"] in SERVICES:
            tally = device["counts"]
            yield Check(f"{name} requests", "host sent", tally["sent"], "guest answered", tally["answered"])
    answered = host["devices"]["heartbeat"]["counts"]["answered"]
    yield Check("heartbeat", "answered", answered > 0, "expected", True)


def _port_checks(at: Cut) -> Iterator[Check]:
    for number, (vp, port) in enumerate(zip(at.host["vps"], at.ports, strict=True)):
        where = f"VP {number}"
        yield Check(f"signals to {where}", "host sent", vp["signals_sent"], "port received", port["signals"])
        yield Check(f"messages to {where}", "host sent", vp["messages_sent"], "port received", port["messages"])
        yield Check(f"MSRs refused to {where}", "port", port["exits"]["faults"], "expected", 0)


async def _clock_check(vm: LinuxVm) -> Check:
    guest = int(await vm.run("date +%s"))
    near = abs(guest - time.time()) <= CLOCK_SECONDS
    return Check("guest's clock", f"within {CLOCK_SECONDS} s of this machine's", near, "expected", True)
