"""Starts the VM with either guest, lets it do what is compared, and writes down what host and guest say."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from guest.machine import DRIVERS
from host.machine import DeviceSpec, instance_of
from lab.linux import sysfs
from lab.linux.differential import files, messages, packets, scenario
from lab.linux.differential.channels import Channels
from lab.linux.differential.files import Device, GuestFiles
from lab.linux.differential.streams import Streams
from lab.linux.vm import LinuxVm
from lab.spec import VmSpec
from lab.vm import VM
from protocol.journal import unpack
from protocol.wire.messages import OfferChannel, decode
from protocol.wire.versions import Dialect, Version

MAPPINGS = "cat /sys/bus/vmbus/devices/*/channel_vp_mapping"


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that is compared, and the names of the devices in the order in which they got their sub-channels."""

    streams: Streams
    sub_channel_order: list[str]


async def emulated(spec: VmSpec) -> Observed:
    """The vCPU workers under policy ``legacy``."""
    return await _traced(replace(spec, name=f"{spec.name}-emulated", policy="legacy", linux=None), _emulated)


async def real(spec: VmSpec) -> Observed:
    """The kernel under QEMU."""
    return await _traced(replace(spec, name=f"{spec.name}-real"), _real)


async def _emulated(spec: VmSpec) -> GuestFiles:
    async with VM(spec) as vm:
        await scenario.with_emulated(vm)
        channels = list(vm.guest.channels())
        names = ("", *(driver.name for driver in DRIVERS))
        found = GuestFiles(
            {relid: _device(words.offer, names[words.driver]) for relid, words in channels if not words.primary_relid},
            [(relid, words.target_cpu) for relid, words in channels],
            vm.files.read("/proc/interrupts").decode(),
        )
        await vm.host("act", name="shutdown", action="power_off")
    return found


def _device(offer: bytes, driver: str) -> Device:
    message = decode(offer, Dialect(Version.V5_3))
    assert isinstance(message, OfferChannel)
    return Device(message.class_id, message.instance_id, driver)


async def _real(spec: VmSpec) -> GuestFiles:
    async with LinuxVm(spec) as vm:
        await scenario.with_kernel(vm)
        mapping = [line.split(":") for line in (await vm.run(MAPPINGS)).split()]
        devices = await sysfs.devices(vm)
        found = GuestFiles(
            {device.relid: Device(device.class_id, device.instance_id, device.driver) for device in devices},
            [(int(relid), int(cpu)) for relid, cpu in mapping],
            await vm.read_file("/proc/interrupts"),
        )
        await vm.power_off()
    return found


def _unwatched(device: DeviceSpec) -> DeviceSpec:
    """How much is drawn, and whether the console is there before the host asks for it, are questions of time."""
    if device.kind != "framebuffer":
        return device
    return replace(device, options={**device.options, "watched": False})


async def _traced(spec: VmSpec, run: Callable[[VmSpec], Awaitable[GuestFiles]]) -> Observed:
    """Run it with a journal, nobody looking at its screen, and take everything apart that is compared."""
    with tempfile.NamedTemporaryFile(prefix="vmbus-lab-") as journal:
        found = await run(replace(spec, trace=journal.name, devices=[*map(_unwatched, spec.devices)]))
        records = list(unpack(Path(journal.name).read_bytes()))
    channels = Channels.of(records)
    names = {instance_of(device.name): device.name for device in spec.devices}
    streams = {
        **messages.synic(records),
        **messages.messages(records),
        **packets.packets(records, channels),
        **files.placement(found.mapping),
        **files.devices(found.devices),
        **files.interrupts(found.interrupts),
    }
    return Observed(streams, [names[instance] for instance in channels.order_of_sub_channels()])
